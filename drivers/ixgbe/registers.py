"""The registers of the Intel 82599 (datasheet section 8.2.3): where they are, what can be written, what a reset leaves.

Names are the datasheet's.  A register array is one entry; ``also`` are further addresses of the same registers.  What
is not here reads as 0 and cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

BAR_SIZE: Final = 128 << 10
ALL: Final = 0xFFFF_FFFF


class Kind(Enum):
    """What an access does, beside what the model adds to it."""

    PLAIN = "plain"
    """Keeps the bits that can be written."""
    COUNTER = "counter"
    """Read to clear; the device writes it."""
    STATUS = "status"
    """Only the device writes it."""
    COMMAND = "command"
    """A write does something; what it reads as, the model says."""


@dataclass(frozen=True)
class Register:
    """A register, or an array of them: ``count`` of 32 bits, ``stride`` bytes from one to the next."""

    name: str
    offset: int
    writable: int = ALL
    reset: int = 0
    count: int = 1
    stride: int = 4
    kind: Kind = Kind.PLAIN
    also: tuple[tuple[int, int, int], ...] = ()
    """Further addresses: offset, stride, and how many of the array's first elements are there."""

    def addresses(self, index: int) -> list[int]:
        """Where the element is, its own address first."""
        return [self.offset + index * self.stride] + [
            offset + index * stride for offset, stride, count in self.also if index < count
        ]  # fmt: skip


def _plain() -> list[Register]:
    return [
        # General control (8.2.3.1), EEPROM (8.2.3.2)
        Register("CTRL", 0x0, 0x0400_000C, also=((0x4, 4, 1),)),
        Register("STATUS", 0x8, 0, 0x0008_0000, kind=Kind.STATUS),
        Register("CTRL_EXT", 0x18, 0x1407_4000),
        Register("ESDP", 0x20, kind=Kind.COMMAND), Register("I2CCTL", 0x28, 0xF, 0xF, kind=Kind.COMMAND),
        Register("LEDCTL", 0x200, ALL, 0x0041_0084),
        Register("EEC", 0x10010, 0x77, 0x0000_3F10, kind=Kind.COMMAND), Register("EERD", 0x10014, kind=Kind.COMMAND),
        Register("EEWR", 0x10018, kind=Kind.COMMAND), Register("FLA", 0x1001C),
        Register("EEMNGCTL", 0x10110, 0, 0x000C_0000),
        Register("FLOP", 0x1013C), Register("SWSM", 0x10140, kind=Kind.COMMAND),
        Register("FWSM", 0x10148, 0, 0x0000_8002), Register("GSSR", 0x10160),
        # PCIe (8.2.3.4)
        Register("GCR", 0x11000), Register("GSCL", 0x11010, count=8), Register("FACTPS", 0x10150, 0, 0),
        Register("PCIEPHYADR", 0x11040), Register("GCR_EXT", 0x11050),
        # Interrupts (8.2.3.5)
        Register("EICR", 0x800, kind=Kind.COMMAND), Register("EICS", 0x808, kind=Kind.COMMAND),
        Register("EIMS", 0x880, kind=Kind.COMMAND), Register("EIMC", 0x888, kind=Kind.COMMAND),
        Register("EIAC", 0x810, 0xFFFF), Register("EIAM", 0x890, 0x7FFF_FFFF),
        Register("EITRSEL", 0x894), Register("GPIE", 0x898, 0xFFFF_FFFF),
        Register("EICS_EX", 0xA90, count=2, kind=Kind.COMMAND), Register("EIMS_EX", 0xAA0, count=2, kind=Kind.COMMAND),
        Register("EIMC_EX", 0xAB0, count=2, kind=Kind.COMMAND), Register("EIAM_EX", 0xAD0, count=2),
        Register("EITR", 0x820, 0x801F_8FF8, count=24), Register("EITR_MORE", 0x12300, 0x801F_8FF8, count=104),
        Register("IVAR", 0x900, 0xBFBF_BFBF, count=64), Register("IVAR_MISC", 0xA00, 0x0000_BFBF),
        Register("PBACL", 0x110C0, count=8), Register("RSCINT", 0x12000, count=128),
        # Receive filters (8.2.3.7)
        Register("FCTRL", 0x5080, 0x0000_0702), Register("VLNCTRL", 0x5088, 0x7000_FFFF, 0x0000_8100),
        Register("MCSTCTRL", 0x5090, 7), Register("PSRTYPE", 0xEA00, count=64, also=((0x5480, 4, 16),)),
        Register("RXCSUM", 0x5000, 0x3000), Register("RFCTL", 0x5008), Register("MTA", 0x5200, count=128),
        Register("RAL", 0xA200, count=128, stride=8, also=((0x5400, 8, 16),)),
        Register("RAH", 0xA204, 0x8000_FFFF, count=128, stride=8, also=((0x5404, 8, 16),)),
        Register("MPSAR", 0xA600, count=256), Register("VFTA", 0xA000, count=128),
        Register("PFVLVF", 0xF100, count=64), Register("PFVLVFB", 0xF200, count=128),
        Register("PFUTA", 0xF400, count=128),
        Register("MRQC", 0xEC80, also=((0x5818, 4, 1),)), Register("RSSRK", 0xEB80, count=10, also=((0x5C80, 4, 10),)),
        Register("RETA", 0xEB00, count=32, also=((0x5C00, 4, 32),)),
        Register("SAQF", 0xE000, count=128), Register("DAQF", 0xE200, count=128), Register("SDPQF", 0xE400, count=128),
        Register("FTQF", 0xE600, count=128), Register("L34TIMIR", 0xE800, count=128), Register("SYNQF", 0xEC30),
        Register("ETQF", 0x5128, count=8), Register("ETQS", 0xEC00, count=8), Register("RTRUP2TC", 0x3020),
        Register("VT_CTL", 0x51B0), Register("PFVFRE", 0x51E0, count=2), Register("PFVFTE", 0x8110, count=2),
        Register("PFDTXGSWC", 0x8220), Register("PFVFSPOOF", 0x8200, count=8), Register("VMVIR", 0x8000, count=64),
        Register("PFVML2FLT", 0xF000, count=64), Register("PFQDE", 0x2F04), Register("VMRCTL", 0xF600, count=4),
        Register("FDIRCTRL", 0xEE00, kind=Kind.COMMAND), Register("FDIRFREE", 0xEE38), Register("FDIRLEN", 0xEE4C),
        Register("FDIRHKEY", 0xEE68), Register("FDIRSKEY", 0xEE6C), Register("FDIRDIP4M", 0xEE3C),
        Register("FDIRSIP4M", 0xEE40), Register("FDIRTCPM", 0xEE44), Register("FDIRUDPM", 0xEE48),
        Register("FDIRIP6M", 0xEE74), Register("FDIRM", 0xEE70), Register("FDIRCMD", 0xEE2C, kind=Kind.COMMAND),
        Register("FDIRSIPV6", 0xEE0C, count=3), Register("FDIRIPSA", 0xEE18), Register("FDIRIPDA", 0xEE1C),
        Register("FDIRPORT", 0xEE20), Register("FDIRVLAN", 0xEE24), Register("FDIRHASH", 0xEE28),
        # Receive DMA (8.2.3.8)
        Register("RXCTRL", 0x3000, 1), Register("RXPBSIZE", 0x3C00, 0x000F_FC00, 0x0008_0000, count=8),
        Register("RDRXCTL", 0x2F00, 0x3FFF_FFF2, 0x0000_8808), Register("RSCDBU", 0x3028),
        Register("RDDCC", 0x2F20), Register("RXMEMWRAP", 0x3190, 0, 0),
        # Flow control (8.2.3.3)
        Register("PFCTOP", 0x3008), Register("FCTTV", 0x3200, count=4), Register("FCRTL", 0x3220, count=8),
        Register("FCRTH", 0x3260, count=8), Register("FCRTV", 0x32A0), Register("TFCS", 0xCE00, 0, 1),
        Register("FCCFG", 0x3D00), Register("FCADBUL", 0x3210),
        # Transmit DMA (8.2.3.9), transmit and receive planes of DCB (8.2.3.10)
        Register("DMATXCTL", 0x4A80, 0xFFFF_00FF, 0x8100_0000), Register("DTXTCPFLGL", 0x4A88, ALL, 0x0FF6_0FF6),
        Register("DTXTCPFLGH", 0x4A8C, ALL, 0x0F7F), Register("DTXMXSZRQ", 0x8100, 0xFFF, 0x10),
        Register("TXPBSIZE", 0xCC00, 0x000F_FC00, 0x0002_8000, count=8), Register("TXPBTHRESH", 0x4950, count=8),
        Register("MTQC", 0x8120), Register("RTTDCS", 0x4900), Register("RTTDQSEL", 0x4904), Register("RTTDT1C", 0x4908),
        Register("RTTDT2C", 0x4910, count=8), Register("RTTBCNRC", 0x4984), Register("RTTBCNRM", 0x4980),
        Register("RTTPCS", 0xCD00), Register("RTTPT2C", 0xCD20, count=8), Register("RTTUP2TC", 0xC800),
        Register("RTRPCS", 0x2430), Register("RTRPT4C", 0x2140, count=8),
        Register("RTTDTECC", 0x4990),
        # Security (8.2.3.12): the paths are always ready to be reconfigured
        Register("SECTXCTRL", 0x8800, 7), Register("SECTXSTAT", 0x8804, 0, 1), Register("SECTXBUFFAF", 0x8808),
        Register("SECTXMINIFG", 0x8810), Register("SECRXCTRL", 0x8D00, 3), Register("SECRXSTAT", 0x8D04, 0, 1),
        # MAC and link (8.2.3.22)
        Register("HLREG0", 0x4240, 0x18F1_ED07, 0x0801_0403), Register("HLREG1", 0x4244, 0, 0),
        Register("PAP", 0x4248), Register("MACA", 0x424C), Register("MSCA", 0x425C, kind=Kind.COMMAND),
        Register("MSRWD", 0x4260, 0x0000_FFFF), Register("MAXFRS", 0x4268, 0xFFFF_0000, 0x05EE_0000),
        Register("PCS1GCFIG", 0x4200), Register("PCS1GLCTL", 0x4208), Register("PCS1GLSTA", 0x420C, 0, 0),
        Register("PCS1GANA", 0x4218), Register("PCS1GANLP", 0x421C, 0, 0), Register("MFLCN", 0x4294),
        Register("MMNGC", 0x42D0, 0, 0),
        Register("AUTOC", 0x42A0, kind=Kind.COMMAND), Register("LINKS", 0x42A4, kind=Kind.STATUS),
        Register("AUTOC2", 0x42A8), Register("ANLP1", 0x42B0, 0, 0x0004_0000), Register("ANLP2", 0x42B4, 0, 0),
        Register("LINKS2", 0x4324, 0, 0), Register("MACC", 0x4330), Register("CORECTL", 0x14F00),
        Register("SMADARCTL", 0x14F10), Register("XPCSS", 0x4290, 0, 0), Register("SERDESC", 0x4298),
        # Timers, wake-up and time stamps, which are kept and do nothing
        Register("TSYNCRXCTL", 0x5188), Register("TSYNCTXCTL", 0x8C00), Register("WUC", 0x5800),
        Register("WUFC", 0x5808),
        Register("WUS", 0x5810), Register("MANC", 0x5820),
        # Which of 16 counters a queue has (8.2.3.23)
        Register("RQSMR", 0x2300, 0x0F0F_0F0F, count=32), Register("TQSM", 0x8600, 0x0F0F_0F0F, count=32),
    ]  # fmt: skip


def _rings() -> list[Register]:
    def receive(name: str, offset: int, writable: int, reset: int = 0, **more: object) -> list[Register]:
        return [
            Register(name, 0x1000 + offset, writable, reset, 64, 0x40, **more),  # type: ignore[arg-type]
            Register(f"{name}_MORE", 0xD000 + offset, writable, reset, 64, 0x40, **more),  # type: ignore[arg-type]
        ]  # fmt: skip

    def transmit(name: str, offset: int, writable: int, reset: int = 0) -> Register:
        return Register(name, 0x6000 + offset, writable, reset, 128, 0x40)

    def split(name: str, low: int, offset: int, writable: int, reset: int) -> list[Register]:
        """The first 16 receive queues have these at two places."""
        return [
            Register(name, 0x1000 + offset, writable, reset, 64, 0x40, also=((low, 4, 16),)),
            Register(f"{name}_MORE", 0xD000 + offset, writable, reset, 64, 0x40),
        ]

    return [
        *receive("RDBAL", 0x00, 0xFFFF_FF80), *receive("RDBAH", 0x04, ALL), *receive("RDLEN", 0x08, 0xF_FF80),
        *split("DCA_RXCTRL", 0x2200, 0x0C, ALL, 0xA200), *receive("RDH", 0x10, 0xFFFF),
        *split("SRRCTL", 0x2100, 0x14, 0x1FC0_3F1F, 0x402), *receive("RDT", 0x18, 0xFFFF),
        *receive("RXDCTL", 0x28, 0x4600_0000), *receive("RSCCTL", 0x2C, 0xD),
        transmit("TDBAL", 0x00, 0xFFFF_FF80), transmit("TDBAH", 0x04, ALL), transmit("TDLEN", 0x08, 0xF_FF80),
        transmit("DCA_TXCTRL", 0x0C, ALL, 0x2A00), transmit("TDH", 0x10, 0xFFFF), transmit("TDT", 0x18, 0xFFFF),
        transmit("TXDCTL", 0x28, 0x067F_7F7F), transmit("TDWBAL", 0x38, 0xFFFF_FFFD), transmit("TDWBAH", 0x3C, ALL),
    ]  # fmt: skip


def _counters() -> list[Register]:
    def counter(name: str, offset: int, count: int = 1, stride: int = 4) -> Register:
        return Register(name, offset, 0, 0, count, stride, Kind.COUNTER)

    single = {
        "CRCERRS": 0x4000, "ILLERRC": 0x4004, "ERRBC": 0x4008, "MSPDC": 0x4010, "MLFC": 0x4034, "MRFC": 0x4038,
        "RLEC": 0x4040, "LXONTXC": 0x3F60, "LXOFFTXC": 0x3F68, "LXONRXC": 0x41A4, "LXOFFRXC": 0x41A8,
        "PRC64": 0x405C, "PRC127": 0x4060, "PRC255": 0x4064, "PRC511": 0x4068, "PRC1023": 0x406C, "PRC1522": 0x4070,
        "GPRC": 0x4074, "BPRC": 0x4078, "MPRC": 0x407C, "GPTC": 0x4080, "GORCL": 0x4088, "GORCH": 0x408C,
        "GOTCL": 0x4090, "GOTCH": 0x4094, "RUC": 0x40A4, "RFC": 0x40A8, "ROC": 0x40AC, "RJC": 0x40B0,
        "MNGPRC": 0x40B4, "MNGPDC": 0x40B8, "MNGPTC": 0xCF90, "TORL": 0x40C0, "TORH": 0x40C4, "TPR": 0x40D0,
        "TPT": 0x40D4, "PTC64": 0x40D8, "PTC127": 0x40DC, "PTC255": 0x40E0, "PTC511": 0x40E4, "PTC1023": 0x40E8,
        "PTC1522": 0x40EC, "MPTC": 0x40F0, "BPTC": 0x40F4, "XEC": 0x4120, "FCCRC": 0x5118, "FCOERPDC": 0x241C,
        "FCLAST": 0x2424, "FCOEPRC": 0x2428, "FCOEDWRC": 0x242C, "FCOEPTC": 0x8784, "FCOEDWTC": 0x8788,
        "FDIRUSTAT": 0xEE50, "FDIRFSTAT": 0xEE54, "FDIRMATCH": 0xEE58, "FDIRMISS": 0xEE5C,
        "SSVPC": 0x8780, "O2BGPTC": 0x41C4, "B2OSPC": 0x41C0, "B2OGPRC": 0x2F90, "O2BSPC": 0x87B0,
    }  # fmt: skip
    return [
        *(counter(name, offset) for name, offset in single.items()),
        counter("MPC", 0x3FA0, 8), counter("RNBC", 0x3FC0, 8), counter("PXONTXC", 0x3F00, 8),
        counter("PXOFFTXC", 0x3F20, 8), counter("PXONRXCNT", 0x4140, 8), counter("PXOFFRXCNT", 0x4160, 8),
        counter("PXON2OFFCNT", 0x3240, 8),
        counter("QPRC", 0x1030, 16, 0x40), counter("QBRC_L", 0x1034, 16, 0x40), counter("QBRC_H", 0x1038, 16, 0x40),
        counter("QPRDC", 0x1430, 16, 0x40), counter("QPTC", 0x6030, 16, 0x40), counter("QBTC_L", 0x8700, 16, 8),
        counter("QBTC_H", 0x8704, 16, 8),
    ]  # fmt: skip


REGISTERS: Final = (*_plain(), *_rings(), *_counters())


def _by_address() -> dict[int, tuple[Register, int]]:
    found: dict[int, tuple[Register, int]] = {}
    for register in REGISTERS:
        for index in range(register.count):
            for address in register.addresses(index):
                if address in found: raise ValueError(f"{register.name} and {found[address][0].name} at {address:#x}")
                found[address] = register, index
    return found


AT: Final = _by_address()
"""By address: the register, and which of its array."""

BY_NAME: Final = {register.name: register for register in REGISTERS}


def address(name: str, index: int = 0) -> int:
    """Where a register is.  KeyError: there is none of that name."""
    return BY_NAME[name].offset + index * BY_NAME[name].stride


__all__ = ["ALL", "AT", "BAR_SIZE", "BY_NAME", "REGISTERS", "Kind", "Register", "address"]
