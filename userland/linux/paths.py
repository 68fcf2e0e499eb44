"""From a path that a program gives to a place on the host, never beyond what the policy grants.

The common case is one ``openat2`` beneath the granted directory: the kernel follows links and ``..`` and refuses to
leave (RESOLVE_BENEATH), and never follows a magic link of /proc (RESOLVE_NO_MAGICLINKS).  Where it refuses, and on
kernels without it, the path is walked one component at a time with O_NOFOLLOW, reading links as text: an absolute link
starts again at the program's root, so a link into the same or another grant works, and any other leads to ENOENT.
Each step of the walk opens one plain name in a directory that is already held, so a rename under way cannot lead out.

procfs inside a grant is refused (EACCES): its ``self`` is the hypervisor.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import Any, Final

from userland.linux.errors import (
    EACCES,
    EAGAIN,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOSYS,
    ENOTDIR,
    EROFS,
    EXDEV,
    LinuxError,
)
from userland.linux.policy import PROCFS_MAGIC, Grant, Node

_SYS_OPENAT2: Final = 437
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_BENEATH: Final = 0x08
_OPEN_HOW: Final = struct.Struct("<QQQ")
_LINKS_MAX: Final = 40
"""Links one resolution follows at most (path_resolution(7))."""
_TRIES: Final = 4
"""openat2 answers EAGAIN when a rename got in its way."""
_O_PATH: Final = os.O_PATH | os.O_CLOEXEC


class _Host:
    """The two calls that Python's os lacks."""

    def __init__(self) -> None:
        import ctypes

        self._ctypes: Any = ctypes
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._statfs: Any = ctypes.create_string_buffer(256)

    def openat2(self, directory: int, path: bytes, flags: int, mode: int) -> int:
        how = _OPEN_HOW.pack(flags, mode, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
        fd: int = self._libc.syscall(_SYS_OPENAT2, directory, path, how, len(how))
        if fd < 0:
            errno = self._ctypes.get_errno()
            raise OSError(errno, os.strerror(errno))
        return fd

    def filesystem(self, fd: int) -> int:
        if self._libc.fstatfs(fd, self._statfs) != 0:
            return -1
        magic: int = struct.unpack_from("<Q", self._statfs.raw)[0]
        return magic


_host: _Host | None = None


def _get_host() -> _Host:
    global _host
    if _host is None:
        _host = _Host()
    return _host


def filesystem(fd: int) -> int:
    """The magic number of the file system that ``fd`` lies on (statfs(2)); -1 if the kernel will not say."""
    return _get_host().filesystem(fd)


class Place:
    """A directory to resolve from: of a grant (``fd`` is its O_PATH descriptor), or a virtual one (``fd`` is -1)."""

    __slots__ = ("_owned", "fd", "grant", "node")

    def __init__(self, node: Node | None, grant: Grant | None, fd: int, *, owned: bool) -> None:
        self.node = node
        self.grant = grant
        self.fd = fd
        self._owned = owned

    def close(self) -> None:
        if self._owned:
            self._owned = False
            os.close(self.fd)

    def writable_grant(self) -> Grant:
        """The grant, if things may be changed here; EROFS."""
        if self.grant is None or not self.grant.writable:
            raise LinuxError(EROFS)
        return self.grant

    def path(self) -> bytes:
        """The directory's absolute path as the program sees it now; ENOENT when it has left its grant or is gone."""
        if self.grant is None or (self.node is not None and self.node.grant is self.grant):
            return self.node.path if self.node is not None else b"/"
        return guest_path(self.fd, self.grant)


def guest_path(fd: int, grant: Grant) -> bytes:
    """Where a host descriptor beneath ``grant`` is now, as the program sees it; ENOENT when it has left or is gone."""
    path = os.fsencode(os.readlink(f"/proc/self/fd/{fd}"))
    root = os.fsencode(os.readlink(f"/proc/self/fd/{grant.fd}")).rstrip(b"/")
    if os.fstat(fd).st_nlink == 0 or not (path + b"/").startswith(root + b"/"):
        raise LinuxError(ENOENT)
    return grant.guest_path.rstrip(b"/") + path[len(root) :] or b"/"


class Found:
    """Where a path leads.

    ``node`` is set for virtual files and directories and the roots of grants.  Otherwise ``fd`` is an O_PATH
    descriptor beneath ``grant``.  Close it.
    """

    __slots__ = ("_owned", "fd", "grant", "node")

    def __init__(self, fd: int, grant: Grant | None, node: Node | None = None, *, owned: bool = True) -> None:
        self.fd = fd
        self.grant = grant
        self.node = node
        self._owned = owned and fd >= 0

    def take(self) -> int:
        """The descriptor, which is the caller's to close from now on."""
        if not self._owned:
            return os.dup(self.fd)
        self._owned = False
        return self.fd

    def close(self) -> None:
        if self._owned:
            self._owned = False
            os.close(self.fd)

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Entry:
    """A name in a directory, existing or not: what creating, removing and renaming work on.

    ``node`` is what the tree of names has there (a mount point or a virtual file).  ``directory_only``: the path ended
    in a slash.  ``name`` is never ``.`` or ``..``: such paths give ``special`` instead.
    """

    __slots__ = ("directory_only", "name", "node", "place", "special")

    def __init__(self, place: Place, name: bytes, node: Node | None, directory_only: bool, special: bool) -> None:
        self.place = place
        self.name = name
        self.node = node
        self.directory_only = directory_only
        self.special = special

    def close(self) -> None:
        self.place.close()

    def __enter__(self) -> Entry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Resolver:
    """Resolves paths in the tree of names whose root is ``root``."""

    def __init__(self, root: Node, *, use_openat2: bool = True) -> None:
        self.root = root
        self._use_openat2 = use_openat2

    def root_place(self) -> Place:
        """The program's root directory."""
        return self._node_place(self.root)

    def _node_place(self, node: Node) -> Place:
        if node.grant is not None and node.grant.name is None:
            return Place(node, node.grant, node.grant.fd, owned=False)
        return Place(node, None, -1, owned=False)

    # One openat2 beneath a grant.

    def _start(self, base: Place, path: bytes) -> tuple[Grant, int, bytes] | Node | None:
        """The grant and directory a path surely lies beneath and the rest of it; or the node it names; None: walk."""
        if not path.startswith(b"/"):
            if base.grant is not None:
                if base.grant.nested or base.grant.name is not None:
                    return None
                return base.grant, base.fd, path
            node = base.node or self.root
        else:
            node = self.root
        parts = path.split(b"/")
        for index, part in enumerate(parts):
            if part in (b"", b"."):
                continue
            if part == b"..":
                return None
            child = node.children.get(part)
            if child is None:
                if node.grant is not None and not node.grant.nested:
                    return node.grant, node.grant.fd, b"/".join(parts[index:])
                return None
            node = child
            if not node.is_directory:
                return None
        return node

    def _open_beneath(self, directory: int, path: bytes, flags: int, mode: int = 0) -> int | None:
        """One openat2; None when the path has to be walked."""
        if not self._use_openat2:
            return None
        for _ in range(_TRIES):
            try:
                return _get_host().openat2(directory, path, flags, mode)
            except OSError as error:
                if error.errno == ENOSYS:
                    self._use_openat2 = False
                    return None
                if error.errno == EXDEV:
                    return None
                if error.errno != EAGAIN:
                    raise
        return None

    def find(self, base: Place, path: bytes, *, follow: bool = True) -> Found:
        """What an existing path leads to; ``follow``: through a link at its end."""
        if not path:
            raise LinuxError(ENOENT)
        start = self._start(base, path)
        if isinstance(start, Node):
            return self._found_node(start)
        if start is not None:
            grant, directory, rest = start
            fd = self._open_beneath(directory, rest, _O_PATH if follow else _O_PATH | os.O_NOFOLLOW)
            if fd is not None:
                return self._checked(fd, grant)
        return self._walk(base, path, follow)

    def _found_node(self, node: Node) -> Found:
        if node.grant is None:
            return Found(-1, None, node)
        if node.grant.name is None:
            return Found(node.grant.fd, node.grant, node, owned=False)
        return Found(self._open_name(node.grant.fd, node.grant.name), node.grant, node)

    def _checked(self, fd: int, grant: Grant) -> Found:
        if os.fstat(fd).st_dev != grant.device and filesystem(fd) == PROCFS_MAGIC:
            os.close(fd)
            raise LinuxError(EACCES)
        return Found(fd, grant)

    @staticmethod
    def _open_name(directory: int, name: bytes) -> int:
        return os.open(name, _O_PATH | os.O_NOFOLLOW, dir_fd=directory)

    # Names in directories.

    def entry(self, base: Place, path: bytes) -> Entry:
        """The name at the end of a path, whose directory exists; a link at the end is not followed."""
        if not path:
            raise LinuxError(ENOENT)
        stripped = path.rstrip(b"/")
        directory, _, name = stripped.rpartition(b"/")
        if not stripped:
            return Entry(self.root_place(), b".", self.root, True, True)
        if len(name) > 255:
            raise LinuxError(ENAMETOOLONG)
        if stripped.startswith(b"/") and not directory:
            directory = b"/"
        place = self.directory(base, directory or b".")
        if name in (b".", b".."):
            return Entry(place, name, None, True, True)
        node = place.node.children.get(name) if place.node is not None else None
        if node is None and place.fd < 0:
            place.close()
            # Nothing can be made in a directory that only leads to the grants.
            raise LinuxError(ENOENT)
        return Entry(place, name, node, stripped != path, False)

    def directory(self, base: Place, path: bytes) -> Place:
        """The directory at a path; ENOTDIR for anything else.  Close it."""
        with self.find(base, path) as found:
            if found.node is not None:
                if not found.node.is_directory:
                    raise LinuxError(ENOTDIR)
                return self._node_place(found.node)
            if not stat.S_ISDIR(os.fstat(found.fd).st_mode):
                raise LinuxError(ENOTDIR)
            return Place(None, found.grant, found.take(), owned=True)

    def create(self, base: Place, path: bytes, flags: int, mode: int) -> tuple[int, Grant]:
        """Opens a file that does not exist yet with host flags that include O_CREAT: descriptor and grant.

        A dangling link at the end is followed unless O_EXCL or O_NOFOLLOW is set.  EROFS in a read-only grant.
        """
        start = self._start(base, path)
        if start is not None and not isinstance(start, Node):
            grant, directory, rest = start
            if not grant.writable:
                raise LinuxError(EROFS)
            fd = self._open_beneath(directory, rest, flags, mode)
            if fd is not None:
                return fd, grant
        for _ in range(_LINKS_MAX):
            with self.entry(base, path) as entry:
                if entry.special or entry.directory_only:
                    raise LinuxError(EISDIR)
                grant, directory, name = self._creatable(entry)
                try:
                    return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=directory), grant
                except OSError as error:
                    if error.errno != ELOOP or flags & (os.O_NOFOLLOW | os.O_EXCL):
                        raise
                target = os.readlink(name, dir_fd=directory)
                path = target if target.startswith(b"/") else entry.place.path() + b"/" + target
        raise LinuxError(ELOOP)

    @staticmethod
    def _creatable(entry: Entry) -> tuple[Grant, int, bytes]:
        if entry.node is not None:
            grant = entry.node.grant
            if grant is None or grant.name is None or not grant.writable:
                raise LinuxError(EROFS)
            return grant, grant.fd, grant.name
        return entry.place.writable_grant(), entry.place.fd, entry.name

    # One component at a time.

    def _walk(self, base: Place, path: bytes, follow: bool) -> Found:
        if not path.startswith(b"/"):
            path = base.path() + b"/" + path
        steps: list[Place] = [self.root_place()]
        try:
            return self._steps(steps, path, follow)
        finally:
            for step in steps:
                step.close()

    def _steps(self, steps: list[Place], path: bytes, follow: bool) -> Found:
        pending = path.split(b"/")[::-1]
        links = 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if len(steps) > 1:
                    steps.pop().close()
                continue
            here = steps[-1]
            child = here.node.children.get(name) if here.node is not None else None
            if child is not None:
                if child.is_directory:
                    steps.append(self._node_place(child))
                    continue
                if pending:
                    raise LinuxError(ENOTDIR)
                return self._found_node(child)
            if here.fd < 0 or here.grant is None:
                raise LinuxError(ENOENT)
            fd = self._open_name(here.fd, name)
            try:
                status = os.fstat(fd)
                if stat.S_ISLNK(status.st_mode) and (follow or pending):
                    links += 1
                    if links > _LINKS_MAX:
                        raise LinuxError(ELOOP)
                    target = os.fsencode(os.readlink(b"", dir_fd=fd))
                    if target.startswith(b"/"):
                        while len(steps) > 1:
                            steps.pop().close()
                    pending += target.split(b"/")[::-1]
                elif stat.S_ISDIR(status.st_mode):
                    checked = self._checked(fd, here.grant)
                    fd = -1
                    steps.append(Place(None, here.grant, checked.take(), owned=True))
                elif pending:
                    raise LinuxError(ENOTDIR)
                else:
                    found = self._checked(fd, here.grant)
                    fd = -1
                    return found
            finally:
                if fd >= 0:
                    os.close(fd)
        last = steps[-1]
        if last.node is not None:
            return self._found_node(last.node)
        return Found(os.dup(last.fd), last.grant)


__all__ = ["Entry", "Found", "Place", "Resolver", "filesystem", "guest_path"]
