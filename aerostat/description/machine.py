"""The description of a machine: its containers, endpoints, programs and invariants, as a file says them or a program in
Python.

A description is data.  ``aerostat.description.check`` says what is wrong with one, ``aerostat.description.assembly``
makes a machine of it.  Each field is the key of the same name in a file (docs/machine-files.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aerostat.description.problems import Source

RIGHTS: Final = {"send": 1, "receive": 2, "grant": 4}
"""What a handle to an endpoint can allow (kernel.objects)."""


def _key(kind: str, default: Any) -> Any:
    """A field that a file can say; ``kind`` names what is to be written there (``aerostat.description.file``)."""
    return field(default=default, metadata={"kind": kind})


def _table(kind: str) -> Any:
    return field(default_factory=dict, metadata={"kind": kind})


@dataclass(frozen=True)
class ContainerDescription:
    """A container: a part of its parent's memory and cores, and whether programs in it get the Linux system calls.

    Its quota is ``memory`` (bytes or such as "64M", rounded up to pages) and ``pages``, ``blocks`` and ``giants`` (of
    4 KiB, 2 MiB and 1 GiB) together.  ``parent`` is the name of another container; None: the machine's root.
    """

    parent: str | None = _key("text", None)
    memory: int | str = _key("size", 0)
    pages: int = _key("count", 0)
    blocks: int = _key("count", 0)
    giants: int = _key("count", 0)
    cores: int = _key("count", 0)
    """Cores that its parent gives it and no longer uses; 0: it uses those that its parent uses."""
    linux: bool | None = _key("flag", None)
    """None: as its parent; the root allows them."""


@dataclass(frozen=True)
class EndpointDescription:
    """An endpoint, charged to ``container`` (None: the machine's root).  Only programs with a handle reach it."""

    container: str | None = _key("text", None)
    timer: float | None = _key("seconds", None)
    """It is signalled each so many seconds, from the start of the programs; None: it is not."""


@dataclass(frozen=True)
class DeviceDescription:
    """A device, lent to ``container`` (None: the machine's root).  ``kind``: "pci", a device of the host at
    ``address``, or a model, made with ``options`` (docs/devices.md).  One program holds it at a time."""

    kind: str = _key("text", "")
    address: str | None = _key("text", None)
    options: Mapping[str, str] = _table("table of texts")
    container: str | None = _key("text", None)


@dataclass(frozen=True)
class HandleDescription:
    """What a program may do with an endpoint: some of "send", "receive" and "grant" (passing the handle on), and the
    badge that receivers are told of what it sends, 0 for none."""

    rights: Sequence[str] = _key("texts", ())
    badge: int = _key("count", 0)


@dataclass(frozen=True)
class ProgramDescription:
    """A program, and all it gets.

    ``file``: an ELF file; a name without a slash is looked up in PATH.  ``arguments`` are those after its name,
    ``environment`` is all of its environment but AERO_ENDPOINT_NAME, by which it learns its handle to each of
    ``endpoints``, and AERO_DEVICE_NAME for each of ``devices``, which it holds from the start.

    ``pager``: the endpoint that its page faults are sent to, with ``pager_badge``; None: a page fault
    ends it.  ``invariants``: files of invariants of it.  ``linux``: whether it gets the Linux system calls; None: if
    its container allows them.  ``main``: the machine ends with it, and its exit status is the machine's.
    ``time_limit``: seconds it may take.
    ``allow_read`` and ``allow_write``: the host directories and files its Linux calls reach, ``cwd`` the one of them it
    starts in.  ``stdin``, ``stdout``, ``stderr``: "inherit", "none", or a file.
    """

    file: str = _key("text", "")
    arguments: Sequence[str] = _key("texts", ())
    environment: Mapping[str, str] = _table("table of texts")
    container: str | None = _key("text", None)
    endpoints: Mapping[str, HandleDescription] = _table("handles")
    devices: Sequence[str] = _key("texts", ())
    pager: str | None = _key("text", None)
    pager_badge: int = _key("count", 0)
    invariants: Sequence[str] = _key("texts", ())
    linux: bool | None = _key("flag", None)
    main: bool = _key("flag", False)
    time_limit: float | None = _key("seconds", None)
    allow_read: Sequence[str] = _key("texts", ())
    allow_write: Sequence[str] = _key("texts", ())
    cwd: str | None = _key("text", None)
    stdin: str = _key("text", "none")
    stdout: str = _key("text", "inherit")
    stderr: str = _key("text", "inherit")


@dataclass(frozen=True)
class MachineDescription:
    """A machine: its size, and what is in it by name.

    ``memory``, ``cores`` and ``check`` as of ``aerostat.Machine``; ``time_limit``: seconds after which all programs
    are ended.  ``invariants``: files of invariants of every program; ``on_violation`` as of ``aerostat.Machine``.
    ``directory``: where relative paths begin; ``source``: the file it was read from, for errors to name.
    """

    memory: int | str = _key("size", "256M")
    cores: int = _key("count", 1)
    check: str = _key("text", "touched")
    time_limit: float | None = _key("seconds", None)
    invariants: Sequence[str] = _key("texts", ())
    on_violation: str = _key("text", "stop")
    containers: Mapping[str, ContainerDescription] = field(default_factory=dict)
    endpoints: Mapping[str, EndpointDescription] = field(default_factory=dict)
    devices: Mapping[str, DeviceDescription] = field(default_factory=dict)
    programs: Mapping[str, ProgramDescription] = field(default_factory=dict)
    directory: str = "."
    source: Source | None = None

    def path(self, name: str) -> str:
        """A path of the description as it is from here."""
        return os.path.normpath(os.path.join(self.directory, os.path.expanduser(name)))

    def allows_linux(self, container: str | None) -> bool:
        """Whether programs in a container can have the Linux system calls."""
        while container is not None:
            own = self.containers[container]
            if own.linux is not None: return own.linux
            container = own.parent
        return True


def endpoint_variable(name: str) -> str:
    """The environment variable by which a program learns its handle to the endpoint of this name."""
    return "AERO_ENDPOINT_" + name.upper().replace("-", "_")


__all__ = [
    "RIGHTS", "ContainerDescription", "DeviceDescription", "EndpointDescription", "HandleDescription",
    "MachineDescription", "ProgramDescription", "endpoint_variable",
]  # fmt: skip
