"""The few files of /dev and /proc that plain programs need, made by the personality; none of the host's is shown."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

from userland.linux.errors import EACCES, EINVAL, ENOSPC, ENXIO, LinuxError
from userland.linux.open_file import (
    O_ACCMODE,
    O_RDONLY,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
    OpenFile,
    scatter,
    synthetic_status,
    total,
)
from userland.linux.policy import FilePolicy, Node
from userland.linux.task import Task

_CHARACTER: Final = stat.S_IFCHR | 0o666
_MEMORY_MAJOR: Final = 1
_RIGHTS: Final = (("r", 1), ("w", 2), ("x", 4))


class NullDevice(OpenFile):
    """/dev/null: nothing to read; writes vanish."""

    def read(self, task: Task, views: list[memoryview]) -> int:
        return 0

    def write(self, task: Task, views: list[memoryview]) -> int:
        return total(views)

    def read_at(self, views: list[memoryview], offset: int) -> int:
        return 0

    def write_at(self, views: list[memoryview], offset: int) -> int:
        return total(views)

    def seek(self, offset: int, whence: int) -> int:
        return 0

    def status(self) -> os.stat_result:
        return synthetic_status(_CHARACTER, 3, device=os.makedev(_MEMORY_MAJOR, 3))


class ZeroDevice(NullDevice):
    """/dev/zero."""

    def read(self, task: Task, views: list[memoryview]) -> int:
        return self.read_at(views, 0)

    def read_at(self, views: list[memoryview], offset: int) -> int:
        for view in views:
            view[:] = bytes(len(view))
        return total(views)

    def status(self) -> os.stat_result:
        return synthetic_status(_CHARACTER, 5, device=os.makedev(_MEMORY_MAJOR, 5))


class FullDevice(ZeroDevice):
    """/dev/full: reads as zeros, and is always full."""

    def write(self, task: Task, views: list[memoryview]) -> int:
        raise LinuxError(ENOSPC)

    def write_at(self, views: list[memoryview], offset: int) -> int:
        raise LinuxError(ENOSPC)

    def status(self) -> os.stat_result:
        return synthetic_status(_CHARACTER, 7, device=os.makedev(_MEMORY_MAJOR, 7))


class RandomDevice(NullDevice):
    """/dev/random and /dev/urandom."""

    def read(self, task: Task, views: list[memoryview]) -> int:
        return self.read_at(views, 0)

    def read_at(self, views: list[memoryview], offset: int) -> int:
        for view in views:
            view[:] = os.urandom(len(view))
        return total(views)

    def status(self) -> os.stat_result:
        return synthetic_status(_CHARACTER, 9, device=os.makedev(_MEMORY_MAJOR, 9))


class ContentFile(OpenFile):
    """A file whose bytes were made when it was opened."""

    seekable = True

    def __init__(self, node: Node, flags: int, content: bytes) -> None:
        super().__init__(flags, node.path)
        self._node = node
        self._content = content
        self._position = 0

    def read(self, task: Task, views: list[memoryview]) -> int:
        count = self.read_at(views, self._position)
        self._position += count
        return count

    def read_at(self, views: list[memoryview], offset: int) -> int:
        return scatter(views, self._content[offset : offset + total(views)])

    def seek(self, offset: int, whence: int) -> int:
        origin = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: len(self._content)}.get(whence)
        if origin is None or origin + offset < 0:
            raise LinuxError(EINVAL)
        self._position = origin + offset
        return self._position

    def status(self) -> os.stat_result:
        return synthetic_status(stat.S_IFREG | 0o444, self._node.number)


class _DescriptorNames(dict[bytes, Node]):
    """The names in /proc/self/fd and /dev/fd: every number, whose meaning the asking task decides."""

    def __init__(self, parent: Node) -> None:
        super().__init__()
        self._parent = parent

    def get(self, name: bytes, default: Node | None = None) -> Node | None:  # type: ignore[override]
        if not (name.isdigit() and len(name) <= 4):
            return default
        fd = int(name)
        node = Node(name, self._parent)
        node.opener = lambda task, flags: task.files.get(fd)
        node.link = lambda task: task.files.get(fd).path or b"/dev/fd/%d" % fd
        return node


def _device(kind: type[OpenFile]) -> Callable[[Task, int], OpenFile]:
    return lambda task, flags: kind(flags)


def _content(node: Node, make: Callable[[Task], bytes]) -> Callable[[Task, int], OpenFile]:
    def opened(task: Task, flags: int) -> OpenFile:
        if flags & O_ACCMODE != O_RDONLY:
            raise LinuxError(EACCES)
        return ContentFile(node, flags, make(task))

    return opened


def _terminal(task: Task, flags: int) -> OpenFile:
    for fd in (0, 1, 2):
        try:
            file = task.files.get(fd)
        except LinuxError:
            continue
        if file.path == b"/dev/tty":
            return file
    raise LinuxError(ENXIO)


def _executable(task: Task, flags: int) -> OpenFile:
    from userland.linux.open_calls import AT_FDCWD, open_file

    return open_file(task, AT_FDCWD & 0xFFFF_FFFF, task.process.executable, flags, 0)


def _maps(task: Task) -> bytes:
    lines = []
    for mapping in task.process.space.mappings:
        rights = "".join(letter if mapping.permissions & flag else "-" for letter, flag in _RIGHTS)
        kind = "s" if mapping.shared else "p"
        inode = mapping.file.identity[1] if mapping.file is not None else 0
        line = f"{mapping.start:08x}-{mapping.end:08x} {rights}{kind} {mapping.offset:08x} 00:00 {inode}"
        lines.append(f"{line:<72} {mapping.name}".rstrip() if mapping.name else line + " ")
    return ("\n".join(lines) + "\n").encode(errors="surrogateescape")


def _status(task: Task) -> bytes:
    process = task.process
    size = sum(mapping.end - mapping.start for mapping in process.space.mappings) // 1024
    resident = sum(end - start for start, end in process.space.present) // 1024
    uid, gid = process.personality.uid, process.personality.gid
    return (
        f"Name:\t{process.name.decode(errors='replace')}\nState:\tR (running)\nTgid:\t{process.pid}\nPid:\t{task.tid}\n"
        f"PPid:\t1\nTracerPid:\t0\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\n"
        f"VmSize:\t{size:8} kB\nVmRSS:\t{resident:8} kB\nThreads:\t{max(len(process.tasks), 1)}\n"
    ).encode()


def _memory_info(task: Task) -> bytes:
    limit = task.process.personality.memory_limit // 1024
    used = sum(end - start for start, end in task.process.space.present) // 1024
    free = max(limit - used, 0)
    return f"MemTotal:       {limit:8} kB\nMemFree:        {free:8} kB\nMemAvailable:   {free:8} kB\n".encode()


def _mounts(task: Task) -> bytes:
    lines = []
    for node in task.process.personality.files.root.walk():
        if node.grant is not None:
            lines.append(b"host %s aerostat %s 0 0\n" % (node.path, b"rw" if node.grant.writable else b"ro"))
    return b"".join(lines)


_CONTENTS: Final[dict[bytes, Callable[[Task], bytes]]] = {
    b"/proc/self/maps": _maps,
    b"/proc/self/status": _status,
    b"/proc/self/cmdline": lambda task: b"".join(argument + b"\0" for argument in task.process.arguments),
    b"/proc/self/comm": lambda task: task.process.name + b"\n",
    b"/proc/meminfo": _memory_info,
    b"/proc/mounts": _mounts,
    b"/proc/self/mounts": _mounts,
    b"/sys/devices/system/cpu/online": lambda task: _cores(task.process.personality.cores),
}

_DEVICES: Final[dict[bytes, tuple[type[OpenFile], int]]] = {
    b"/dev/null": (NullDevice, 3),
    b"/dev/zero": (ZeroDevice, 5),
    b"/dev/full": (FullDevice, 7),
    b"/dev/random": (RandomDevice, 8),
    b"/dev/urandom": (RandomDevice, 9),
}


def _cores(count: int) -> bytes:
    return b"0\n" if count == 1 else b"0-%d\n" % (count - 1)


def add_virtual_files(policy: FilePolicy) -> None:
    """Puts the personality's own files into the tree of names, over whatever a grant has there.  Idempotent."""
    root = policy.root
    for path, make in _CONTENTS.items():
        node = root.add(path)
        node.opener = _content(node, make)
    for path, (kind, minor) in _DEVICES.items():
        node = root.add(path)
        node.opener = _device(kind)
        node.mode = _CHARACTER
        node.device = os.makedev(_MEMORY_MAJOR, minor)
    for path, target in ((b"/dev/stdin", 0), (b"/dev/stdout", 1), (b"/dev/stderr", 2)):
        node = root.add(path)
        node.link = _constant(b"/proc/self/fd/%d" % target)
        node.opener = _descriptor(target)
    executable = root.add(b"/proc/self/exe")
    executable.link = lambda task: task.process.executable
    executable.opener = _executable
    terminal = root.add(b"/dev/tty")
    terminal.opener = _terminal
    terminal.mode = _CHARACTER
    terminal.device = os.makedev(5, 0)
    for path in (b"/dev/fd", b"/proc/self/fd"):
        node = root.add(path)
        node.children = _DescriptorNames(node)
    policy.note_nesting()


def _constant(value: bytes) -> Callable[[Task], bytes]:
    return lambda task: value


def _descriptor(fd: int) -> Callable[[Task, int], OpenFile]:
    return lambda task, flags: task.files.get(fd)


__all__ = ["ContentFile", "FullDevice", "NullDevice", "RandomDevice", "ZeroDevice", "add_virtual_files"]
