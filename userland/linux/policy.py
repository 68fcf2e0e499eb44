"""Which host files a program may reach: grants, and the tree of names it sees.

Nothing is reachable by default.  Each ``--allow-read`` / ``--allow-write`` path appears at the same absolute path as on
the host and behaves as a mount of its own: hard links and renames from one to another get EXDEV, its root cannot be
removed (EBUSY), and a path that is not beneath it cannot be named through it, whatever links say.  The directories
above a grant exist as empty, read-only directories of the personality's own that list the way to the grants and
nothing else; all other names get ENOENT, so that a program cannot even learn what the host has there.

A read-only grant answers changes with EROFS.  ``allow_write`` implies reading.  Where grants overlap the innermost
decides, except that a read grant beneath a write grant takes nothing away.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from userland.linux.open_file import OpenFile
    from userland.linux.task import Task

PROCFS_MAGIC: Final = 0x9FA0


class PolicyError(Exception):
    """A path cannot be granted; the message says which, why, and what to do."""


class Grant:
    """A granted directory (``name`` is None) or a single granted file (``name`` in the directory ``fd``)."""

    __slots__ = ("device", "fd", "guest_path", "name", "nested", "writable")

    def __init__(self, guest_path: bytes, fd: int, writable: bool, name: bytes | None) -> None:
        self.guest_path = guest_path
        self.fd = fd
        self.writable = writable
        self.name = name
        self.device = os.fstat(fd).st_dev
        self.nested = False
        """Another grant or a name of the personality's own lies beneath: resolved step by step."""


class Node:
    """A name in the tree above and beside the grants: a directory, the root of a grant, or a virtual file."""

    __slots__ = ("children", "device", "grant", "link", "mode", "name", "number", "opener", "parent")

    _numbers = iter(range(1, 1 << 30))

    def __init__(self, name: bytes, parent: Node | None) -> None:
        self.name = name
        self.parent = parent
        self.children: dict[bytes, Node] = {}
        self.grant: Grant | None = None
        self.opener: Callable[[Task, int], OpenFile] | None = None
        """Opens a virtual file with Linux open flags; None for directories and grants."""
        self.link: Callable[[Task], bytes] | None = None
        """The target of a virtual symbolic link, for readlink and lstat; following it is the opener's business."""
        self.mode = 0
        """S_IF… and permission bits of a virtual file."""
        self.device = 0
        """The device number of a virtual device."""
        self.number = next(self._numbers)

    @property
    def is_directory(self) -> bool:
        """Whether names can lie beneath."""
        return self.opener is None and self.link is None and (self.grant is None or self.grant.name is None)

    @property
    def path(self) -> bytes:
        """The absolute path."""
        if self.parent is None:
            return b"/"
        return self.parent.path.rstrip(b"/") + b"/" + self.name

    def child(self, name: bytes) -> Node:
        """The node of that name beneath, made if it is missing."""
        found = self.children.get(name)
        if found is None:
            found = self.children[name] = Node(name, self)
        return found

    def add(self, path: bytes) -> Node:
        """The node at an absolute path, made with what leads there."""
        node = self
        for name in path.split(b"/"):
            if name:
                node = node.child(name)
        return node

    def walk(self) -> Iterator[Node]:
        """This node and all beneath."""
        yield self
        for child in self.children.values():
            yield from child.walk()


class FilePolicy:
    """The grants of one machine.  Holds a descriptor a grant until ``close``, so that a renamed directory stays the
    one that was granted."""

    def __init__(
        self,
        allow_read: Iterable[str | os.PathLike[str]] = (),
        allow_write: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        """``allow_write`` implies reading; a file to write need not exist yet.  Raises PolicyError."""
        self.root = Node(b"", None)
        self._fds: list[int] = []
        try:
            for path in allow_write:
                self._grant(path, writable=True)
            for path in allow_read:
                self._grant(path, writable=False)
        except BaseException:
            self.close()
            raise
        self.note_nesting()

    def note_nesting(self) -> None:
        """Marks the grants beneath which other names of the tree lie; to be called after names were added."""
        for node in self.root.walk():
            if node.grant is not None:
                node.grant.nested = bool(node.children)

    def close(self) -> None:
        """Lets the granted directories go."""
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> FilePolicy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _grant(self, path: str | os.PathLike[str], *, writable: bool) -> None:
        typed = os.path.abspath(os.fsencode(path))
        real = os.path.realpath(typed)
        option = "--allow-write" if writable else "--allow-read"
        shown = os.fsdecode(typed)
        name: bytes | None = None
        try:
            status = os.stat(real)
        except FileNotFoundError:
            if not writable:
                raise PolicyError(f"{option} {shown}: no such file or directory; give a path that exists") from None
            name = os.path.basename(real)
        except OSError as error:
            raise PolicyError(f"{option} {shown}: {error.strerror}") from None
        else:
            if stat.S_ISREG(status.st_mode):
                name = os.path.basename(real)
            elif not stat.S_ISDIR(status.st_mode):
                raise PolicyError(f"{option} {shown}: neither a directory nor a regular file; it cannot be granted")
        try:
            fd = os.open(real if name is None else os.path.dirname(real), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PolicyError(f"{option} {shown}: {error.strerror}") from None
        self._fds.append(fd)
        if os.major(os.fstat(fd).st_dev) == 0 and _is_procfs(fd):
            raise PolicyError(f"{option} {shown}: procfs cannot be granted: its self would be the hypervisor")
        for seen in {typed, real}:
            if not self._writable_already(seen):
                node = self.root.add(seen)
                node.grant = node.grant or Grant(seen, fd, writable, name)

    def _writable_already(self, path: bytes) -> bool:
        node = self.root
        writable = False
        for part in path.split(b"/"):
            if part:
                found = node.children.get(part)
                if found is None:
                    break
                node = found
            if node.grant is not None:
                writable = node.grant.writable
        return writable


def _is_procfs(fd: int) -> bool:
    from userland.linux.paths import filesystem

    return filesystem(fd) == PROCFS_MAGIC


__all__ = ["FilePolicy", "Grant", "Node", "PolicyError"]
