"""What a port is connected to: pcap files, a TAP device, a veth pair, another model; and drivers in other processes."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.ixgbe import wires
from drivers.ixgbe.model import Mode
from tests.aerostat.programs import built
from tests.drivers.ixgbe.card import Card
from tests.drivers.ixgbe.packets import THEM, US, ethernet, ipv4, numbered, udp
from tests.drivers.waiting import until

ROOT = Path(__file__).resolve().parents[3]
NETWORK = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/net/tun"), reason="needs root and /dev/net/tun"
)


@pytest.fixture
def polled() -> Iterator[Card]:
    card = Card(Mode.FAST)
    card.up()
    card.receive_queue()
    card.transmit_queue()
    yield card
    card.close()


def test_a_pcap_file_arrives_and_another_is_written(polled: Card, tmp_path: Path) -> None:
    frames = [numbered(i, 60 + i) for i in range(5)]
    for order, magic in (("<", 0xA1B2C3D4), (">", 0xA1B23C4D)):
        records = b"".join(struct.pack(f"{order}IIII", 1, 2, len(frame), len(frame)) + frame for frame in frames)
        (tmp_path / "in.pcap").write_bytes(struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1) + records)
        assert wires.read_pcap(tmp_path / "in.pcap") == frames
    wires.feed(polled.nic, wires.read_pcap(tmp_path / "in.pcap"))
    wires.record(polled.nic, tmp_path / "out.pcap")
    polled.poll(2)
    assert wires.fed(polled.nic)
    assert [polled.received(i) for i in range(5)] == frames
    for frame in frames: polled.send(frame)
    polled.tell()
    assert wires.read_pcap(tmp_path / "out.pcap") == frames
    assert wires.sent(polled.nic) == frames


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "not a pcap"), (b"no pcap file at all, but long enough", "not a pcap"),
     (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 9, 101), "no Ethernet"),
     (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 9, 1) + struct.pack("<IIII", 0, 0, 9, 9), "ends in the middle")],
)  # fmt: skip
def test_what_is_no_pcap_file(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=what): wires.read_pcap(tmp_path / "x")


def test_frames_that_cannot_be(polled: Card) -> None:
    with pytest.raises(ValueError, match="frame 1 has 13 bytes"): wires.feed(polled.nic, [bytes(60), bytes(13)])


@contextmanager
def interfaces(*commands: str) -> Iterator[None]:
    for command in commands: subprocess.run(["ip", *command.split()], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "del", commands[0].split()[2]], check=False)


@NETWORK
def test_a_veth_pair_carries_frames_both_ways(polled: Card) -> None:
    one, other = f"aero{os.getpid() % 10000}a", f"aero{os.getpid() % 10000}b"
    with interfaces(f"link add {one} type veth peer name {other}", f"link set {one} up", f"link set {other} up"):
        wires.interface(polled.nic, one)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as far:
            far.bind((other, 0x88B5))
            far.settimeout(5)
            far.send(numbered(3)[:30])
            found: list[bytes] = []

            def came() -> bool:
                polled.poll()
                found[:] = [polled.received(i) for i in range(31) if polled.written(i).done]
                return numbered(3)[:30].ljust(60, b"\0") in found

            until(came)
            polled.send(numbered(4))
            polled.tell()
            assert far.recv(2000) == numbered(4)


@NETWORK
def test_the_host_is_reached_through_a_tap_device() -> None:
    """The host's own stack answers an ARP request: it must have liked the frame."""
    name = f"aero{os.getpid() % 10000}t"
    card = Card(Mode.FAST)
    try:
        card.up()
        card.receive_queue()
        card.transmit_queue()
        wires.tap(card.nic, name)
        subprocess.run(["ip", "addr", "add", "10.98.7.1/24", "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        us, host = b"\x0a\x62\x07\x02", b"\x0a\x62\x07\x01"
        ask = struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, THEM, us, bytes(6), host)
        card.send(ethernet(ask, to=b"\xff" * 6, kind=0x0806))
        card.tell()

        def answered() -> bool:
            card.poll()
            frames = [card.received(i) for i in range(31) if card.written(i).done]
            replies = [frame for frame in frames if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x02"]
            return any(frame[28:32] == bytes([10, 98, 7, 1]) for frame in replies)

        until(answered)
    finally:
        card.close()


def test_a_wire_of_two_models_that_run() -> None:
    one, other = Card(Mode.FAST), Card(Mode.FAST)
    try:
        for card in (one, other):
            card.up()
            card.receive_queue()
            card.transmit_queue()
        wires.join(one.nic, other.nic)
        for card in (one, other): card.nic.start()
        for i in range(20):
            one.send(numbered(i))
            one.write(0x6018, one.tails[0])
        until(lambda: other.written(19).done)
        assert [other.received(i) for i in range(20)] == [numbered(i) for i in range(20)]
    finally:
        one.close()
        other.close()


@contextmanager
def model_command(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``aerostat model ixgbe``, and the name by which a driver outside opens it."""
    files = [str(folder / name) for name in ("bar", "dma", "irq")]
    command = [sys.executable, "-m", "aerostat", "model", "ixgbe", "--bar", files[0], "--dma", files[1],
               "--interrupts", files[2], "--dma-size", "16M", *options]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready: 02:82:59:90:00:01\n"
        yield ":".join(files), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def outside(name: str, *arguments: str) -> tuple[int, str]:
    command = [built("drivers/ixgbe-outside"), name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def test_a_driver_in_another_process(tmp_path: Path) -> None:
    options = ["--record", str(tmp_path / "out.pcap"), "--generate", "60", "--idle", "20"]
    with model_command(tmp_path, *options) as (name, _):
        assert outside(name, "identify") == (0, "address 02:82:59:90:00:01, link 10000 Mb/s\n")
        status, text = outside(name, "-t", "20", "generate", "100")
        assert (status, text.split(";")[0]) == (0, "sent 100 packets")
        expected = [
            ethernet(ipv4(udp(struct.pack(">I", i) + bytes(14), ports=(1024 + i, 9)), 17), to=b"\xff" * 6)
            for i in range(100)
        ]  # fmt: skip
        sent = wires.read_pcap(tmp_path / "out.pcap")
        assert [frame[:6] + THEM + frame[12:] for frame in sent] == expected
        assert {frame[6:12] for frame in sent} == {US}
        for more in ([], ["-i"], ["-q", "4"], ["-b", "1"]):
            status, text = outside(name, "-t", "20", *more, "receive", "1000")
            assert status == 0, text
            assert int(text.split()[1]) >= 1000
        status, text = outside(name, "-t", "20", "forward", "1000")
        assert status == 0, text
        assert outside(name, "sleep")[0] == 2


def test_files_that_cannot_be(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "aerostat", "model", "ixgbe", "--bar", str(tmp_path / "no" / "bar"),
                           "--dma", str(tmp_path / "dma")], capture_output=True, text=True, cwd=ROOT)  # fmt: skip
    assert done.returncode == 2
    assert "No such file" in done.stderr
