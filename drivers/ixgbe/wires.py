"""What a modelled 82599's port is connected to: frames from a list or a pcap file, a pcap file of what is sent, a TAP
device or network interface, another model.  Several at once are possible: what is sent goes to all of them.

What a connection opens is closed with the model.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drivers._native import ffi, lib
from drivers.ixgbe.model import Ixgbe

SHORTEST: Final = 60
LONGEST: Final = int(lib.IXGBE_FRAME)
_IFNAMSIZ: Final = 16
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_ETH_P_ALL, _SOL_PACKET, _ADD_MEMBERSHIP, _IGNORE_OUTGOING, _PROMISCUOUS = 3, 263, 1, 23, 1
_MICROSECONDS, _NANOSECONDS, _ETHERNET = 0xA1B2C3D4, 0xA1B23C4D, 1


def feed(model: Ixgbe, frames: Sequence[bytes], *, times: int = 1, storm: bool = False) -> None:
    """The frames arrive one after another, ``times`` times over (0: for ever), each when there is a descriptor for it;
    ``storm``: as fast as they come, whether there is or not.  Frames are without FCS; what is shorter than 60 bytes is
    padded.  ValueError: one has less than 14 bytes or more than 15872."""
    padded = [frame.ljust(SHORTEST, b"\0") for frame in frames]
    for number, frame in enumerate(frames):
        if not 14 <= len(frame) <= LONGEST:
            raise ValueError(f"frame {number} has {len(frame)} bytes: 14 to {LONGEST} are possible")
    lengths = ffi.new("uint32_t[]", [len(frame) for frame in padded])
    how = lib.IXGBE_STORM if storm else lib.IXGBE_PATIENT
    with model.stopped() as engine:
        if not lib.ixgbe_feed(engine, b"".join(padded), lengths, len(padded), times, how):
            raise MemoryError("no memory for frames")


def fed(model: Ixgbe) -> bool:
    """Whether all frames of ``feed`` have arrived."""
    with model.stopped() as engine:
        return bool(lib.ixgbe_fed(engine))


def capture(model: Ixgbe, on: bool = True) -> None:
    """Keeps what is sent, up to 1 MiB, for ``sent``."""
    with model.stopped() as engine:
        lib.ixgbe_capture(engine, on)


def sent(model: Ixgbe) -> list[bytes]:
    """What was sent since the last call."""
    into, found = ffi.new("uint8_t[]", LONGEST), []
    with model.stopped() as engine:
        while length := lib.ixgbe_sent(engine, into, LONGEST):
            found.append(bytes(ffi.buffer(into, length)))
    return found


def read_pcap(path: str | Path) -> list[bytes]:
    """The frames of a pcap file of Ethernet.  OSError; ValueError for what is none."""
    data = Path(path).read_bytes()
    order = next((o for o in "<>" if data[:4] and struct.unpack_from(f"{o}I", data.ljust(4, b"\0"))[0]
                  in (_MICROSECONDS, _NANOSECONDS)), None)  # fmt: skip
    if order is None or len(data) < 24: raise ValueError(f"{path} is not a pcap file")
    if struct.unpack_from(f"{order}I", data, 20)[0] & 0xFFFF != _ETHERNET:
        raise ValueError(f"{path} has no Ethernet frames")
    frames, at = [], 24
    while at + 16 <= len(data):
        length = struct.unpack_from(f"{order}I", data, at + 8)[0]
        if at + 16 + length > len(data): raise ValueError(f"{path} ends in the middle of a frame")
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


def record(model: Ixgbe, path: str | Path) -> None:
    """Writes what is sent to a pcap file, which is made anew, with times in nanoseconds."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    os.write(file, struct.pack("<IHHiIII", _NANOSECONDS, 2, 4, 0, 0, 65535, _ETHERNET))
    with model.stopped() as engine:
        lib.ixgbe_pcap(engine, file)
    model.closes.append(lambda: os.close(file))


def tap(model: Ixgbe, name: str) -> None:
    """Connects it to a TAP device, which is made if it is not there.  OSError: not allowed, or in use.  ValueError: no
    interface can have this name."""
    if not 0 < len(name.encode()) < _IFNAMSIZ:
        raise ValueError(f"{name!r} is no name of an interface: 1 to {_IFNAMSIZ - 1} bytes")
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    except OSError:
        os.close(file)
        raise
    _connect(model, file)


def interface(model: Ixgbe, name: str) -> None:
    """Connects it to a network interface (AF_PACKET), promiscuous: what comes in there arrives, what is sent leaves
    there.  OSError: not allowed, or no such interface, which the error names."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
    try:
        raw.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        raw.bind((name, _ETH_P_ALL))
        request = struct.pack("iHH8s", socket.if_nametoindex(name), _PROMISCUOUS, 0, b"")
        raw.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)
    except OSError as error:
        raw.close()
        raise OSError(error.errno, os.strerror(error.errno or 0), name) from None
    _connect(model, raw.detach())


@dataclass(frozen=True)
class Connections:
    """What a port is connected to, by words: empty ones and 0 for what is not there."""

    tap: str = ""
    interface: str = ""
    record: str = ""
    """A pcap file of what is sent."""
    play: str = ""
    """A pcap file, whose frames arrive."""
    generate: int = 0
    """Instead of these: frames of so many bytes, to 00:01:02:03:04:05."""
    times: int = 0
    """How often those do; 0: for ever."""
    storm: bool = False
    """They do not wait for descriptors."""

    def make(self, model: Ixgbe) -> None:
        """Connects it.  OSError and ValueError as the functions for each of these."""
        if self.play and self.generate: raise ValueError("frames of a file or generated ones arrive, not both")
        if self.tap and self.interface: raise ValueError("a TAP device or an interface is at its cable, not both")
        if self.times < 0: raise ValueError(f"frames arrive {self.times} times")
        frames = read_pcap(self.play) if self.play else []
        if self.generate: frames = [bytes(range(14)).ljust(self.generate, b"\0")]
        if self.tap: tap(model, self.tap)
        if self.interface: interface(model, self.interface)
        if self.record: record(model, self.record)
        if frames: feed(model, frames, times=self.times, storm=self.storm)


def _connect(model: Ixgbe, file: int) -> None:
    with model.stopped() as engine:
        lib.ixgbe_descriptor(engine, file)
    model.closes.append(lambda: os.close(file))


def join(one: Ixgbe, other: Ixgbe) -> None:
    """A wire: each receives what the other sends, and loses what it cannot take.  It is cut when one is closed."""
    with one.stopped() as engine, other.stopped() as peer:
        lib.ixgbe_wire(engine, peer)

    def cut() -> None:
        one.disconnects.clear()
        other.disconnects.clear()
        with one.stopped() as engine, other.stopped(): lib.ixgbe_unwire(engine)

    one.disconnects.append(cut)
    other.disconnects.append(cut)


__all__ = ["Connections", "capture", "fed", "feed", "interface", "join", "read_pcap", "record", "sent", "tap"]
