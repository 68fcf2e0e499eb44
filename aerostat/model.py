"""``aerostat model``: the software model of a device on files that a driver outside any machine shares."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

# What only the command needs is imported in it: each start of the command line reads this file.


def nvme(options: argparse.Namespace, stopped: threading.Event) -> int:
    """Runs the NVMe model until ``stopped``."""
    from aerostat.sizes import parse_size
    from drivers._native import ffi
    from drivers.model.faults import Faults
    from drivers.model.files import SharedFiles
    from drivers.nvme.backing import in_file, in_memory
    from drivers.nvme.model import BAR_SIZE, NvmeModel

    files = SharedFiles.open(
        options.bar, options.dma, options.interrupts, bar_size=BAR_SIZE, memory_size=parse_size(options.dma_size)
    )
    size = parse_size(options.size) if options.size else None
    backing = in_file(options.file, size) if options.file else in_memory(size or 64 << 20)
    model = NvmeModel(
        backing, block=options.block, queues=options.queues, entries=options.entries, registers=files.registers,
        interrupt_counts=files.interrupts, faults=Faults.parse(options.faults) if options.faults else None,
        ready_ms=options.ready_ms,
    )  # fmt: skip
    try:
        model.map(options.dma_base, int(ffi.cast("uintptr_t", ffi.from_buffer(files.memory))), len(files.memory), True)
        how = "memory" if not options.file else f"{options.file}, " + (
            "around the page cache" if backing.direct else "by the page cache"
        )
        print(f"ready: {model.namespace.blocks} blocks of {options.block} bytes in {how}", flush=True)
        stopped.wait()
        for name, value in model.counts().items():
            print(f"{name}: {value}")
        return 0
    finally:
        model.close()
        backing.close()


def ixgbe(options: argparse.Namespace, stopped: threading.Event) -> int:
    """Runs the model of the 82599 until ``stopped``."""
    from aerostat.sizes import parse_size
    from drivers._native import ffi, lib
    from drivers.ixgbe.eeprom import parse_mac
    from drivers.ixgbe.model import Ixgbe, Mode
    from drivers.ixgbe.registers import BAR_SIZE
    from drivers.ixgbe.wires import Connections
    from drivers.model.faults import Faults
    from drivers.model.files import SharedFiles

    files = SharedFiles.open(
        options.bar, options.dma, options.interrupts, bar_size=BAR_SIZE, memory_size=parse_size(options.dma_size)
    )
    mac = parse_mac(options.mac)
    model = Ixgbe(
        Mode.MEMORY, mac=mac, device_id=options.device_id, link_at_reset=not options.link_by_restart,
        link_delay=None if options.link_delay < 0 else options.link_delay, registers=files.registers,
        interrupt_counts=files.interrupts, faults=Faults.parse(options.faults) if options.faults else None,
        empty_cage=options.empty_cage,
    )  # fmt: skip
    try:
        model.map(options.dma_base, int(ffi.cast("uintptr_t", ffi.from_buffer(files.memory))), len(files.memory), True)
        Connections(
            options.tap, options.interface, options.record, options.play, options.generate, options.times, options.storm
        ).make(model)
        # Drivers give a reset some microseconds (DPDK: ten): the engine does not sleep, unless it is told to.
        model.start(idle=options.idle * 1e-6)
        print(f"ready: {':'.join(f'{byte:02x}' for byte in mac)}", flush=True)
        stopped.wait()
        with model.stopped() as engine: print(f"bytes sent: {lib.ixgbe_sunk(engine)}")
        for name, count in model.errors.items(): print(f"{name}: {count}")
        return 0
    finally:
        model.close()


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], help_class: type[argparse.HelpFormatter]
) -> None:
    """Adds the command to the command line."""
    model = commands.add_parser(
        "model", help="put the software model of a device on files that a driver outside shares",
        description="Runs the software model of a device on files that are its registers and the memory that it "
        "reaches, for any driver that maps them, until Ctrl-C; then counts are printed (drivers/README.md).",
        formatter_class=help_class,
    )  # fmt: skip
    kinds = model.add_subparsers(dest="kind", metavar="KIND", required=True)
    one = kinds.add_parser("nvme", help="an NVMe 1.4 controller with one namespace", formatter_class=help_class)
    _add_files(one)
    one.add_argument("--file", metavar="FILE", help="keep the namespace in this file or block device (else in memory)")
    one.add_argument("--size", metavar="SIZE", help="of the namespace (default: the file's, or 64M of memory)")
    one.add_argument("--block", type=int, default=512, metavar="BYTES", help="of a block: 512 (default) or 4096")
    one.add_argument("--queues", type=int, default=16, metavar="N", help="I/O queues of each kind (default 16)")
    one.add_argument("--entries", type=int, default=1024, metavar="N", help="of a queue at most (default 1024)")
    one.add_argument(
        "--ready-ms", type=float, default=0.0, metavar="MS", help="how long enabling takes; negative: for ever"
    )


    card = kinds.add_parser(
        "ixgbe", help="an Intel 82599 10 GbE controller; registers are polled, so reading clears none "
        "(drivers/README.md)", formatter_class=help_class,
    )  # fmt: skip
    _add_files(card)
    card.add_argument("--mac", default="02:82:59:90:00:01", metavar="ADDRESS", help="its address (default %(default)s)")
    card.add_argument(
        "--device-id", type=lambda text: int(text, 0), default=0x10FB, metavar="ID", help="default 0x10FB, with SFP+"
    )
    for name, kind, what in (
        ("--tap", "NAME", "connect it to this TAP device, made if it is not there"),
        ("--interface", "NAME", "connect it to this network interface, as one of a veth pair"),
        ("--record", "FILE", "write what is sent to a pcap file"), ("--play", "FILE", "frames of a pcap file arrive"),
    ):  # fmt: skip
        card.add_argument(name, default="", metavar=kind, help=what)
    card.add_argument("--generate", type=int, default=0, metavar="BYTES", help="frames of so many bytes arrive")
    card.add_argument("--times", type=int, default=0, metavar="N", help="how often those do (default 0: for ever)")
    card.add_argument("--storm", action="store_true", help="they do not wait for descriptors")
    card.add_argument(
        "--link-delay", type=float, default=0.0, metavar="S", help="seconds to a link; negative: never (default 0)"
    )
    card.add_argument(
        "--link-by-restart", action="store_true", help="it comes up after a restart of autonegotiation, not by itself"
    )
    card.add_argument("--empty-cage", action="store_true", help="no module is in the SFP+ cage, and no link comes")
    card.add_argument(
        "--idle", type=float, default=0.0, metavar="US", help="sleep so many microseconds when there is nothing to do"
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bar", required=True, metavar="FILE", help="the registers of BAR 0; made if it is not there")
    parser.add_argument("--dma", required=True, metavar="FILE", help="the memory that the device reaches; likewise")
    parser.add_argument("--dma-size", default="64M", metavar="SIZE", help="of that memory, where it is made")
    parser.add_argument(
        "--dma-base", type=lambda text: int(text, 0), default=0, metavar="IOVA",
        help="where the device finds its first byte (default 0)",
    )  # fmt: skip
    parser.add_argument("--interrupts", metavar="FILE", help="a page where interrupts are counted, a futex among them")
    parser.add_argument(
        "--faults", metavar="NAME=VALUE,...",
        help="faults to inject: seed, late_ms and removal are numbers; late, lost, duplicated and error probabilities",
    )  # fmt: skip


KINDS = {"nvme": nvme, "ixgbe": ixgbe}


def model(options: argparse.Namespace) -> int:
    """The command: 0 after Ctrl-C or SIGTERM, 2 for what no model can be made of."""
    import signal
    import threading

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        return KINDS[options.kind](options, stopped)
    except (OSError, ValueError) as error:
        print(f"aerostat model {options.kind}: {error}", file=sys.stderr)
        return 2


__all__ = ["add_command", "model"]
