"""What hangs on the card's serial pins, clocked by hand: the EEPROM by SPI, the module in the SFP+ cage by I2C."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.drivers.ixgbe import card as c
from tests.drivers.ixgbe.card import Card

ESDP, I2CCTL, MSCA, MSRWD = 0x20, 0x28, 0x425C, 0x4260
SK, CS, DI, DO, REQUEST, GRANT = 1, 2, 4, 8, 1 << 6, 1 << 7
CLOCK, DATA = 2, 8  # of I2CCTL, as driven; a bit lower, as they are


def eerd(card: Card, word: int) -> int:
    card.write(c.EERD, word << 2 | 1)
    value = card.read(c.EERD)
    assert value >> 1 & 1
    return value >> 16


class Spi:
    """The EEPROM's pins, as a driver has them while EEC.EE_GNT is set."""

    def __init__(self, card: Card) -> None:
        self.card = card
        card.write(c.EEC, card.read(c.EEC) | REQUEST)
        assert card.read(c.EEC) & GRANT

    def _set(self, pins: int) -> None:
        self.card.write(c.EEC, self.card.read(c.EEC) & ~(SK | CS | DI) | pins)

    def deselect(self) -> None:
        self._set(CS)
        self._set(0)

    def out(self, value: int, bits: int) -> None:
        for i in reversed(range(bits)):
            bit = DI if value >> i & 1 else 0
            for clock in (0, SK, 0): self._set(bit | clock)

    def into(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            self._set(SK)
            value = value << 1 | bool(self.card.read(c.EEC) & DO)
            self._set(0)
        return value

    def read(self, word: int) -> int:
        self.deselect()
        self.out(3, 8)
        self.out(2 * word, 16)
        return int.from_bytes(self.into(16).to_bytes(2, "big"), "little")


def test_the_eeprom_by_its_pins_is_the_one_by_eerd(make: Callable[..., Card]) -> None:
    card = make()
    assert card.read(c.EEC) >> 10 & 1  # 16 bits of address
    assert card.read(c.EEC) >> 11 & 15 == 7  # 128 Kb
    spi = Spi(card)
    for word in (0, 0x3F, 0x40, 0x41, 8191): assert spi.read(word) == eerd(card, word)
    assert spi.read(0) >> 6 & 3 == 1  # a signature
    card.write(c.EEC, card.read(c.EEC) & ~REQUEST)
    assert not card.read(c.EEC) & GRANT


def test_the_eeprom_is_written_after_write_enable_alone(make: Callable[..., Card]) -> None:
    card = make()
    spi = Spi(card)
    for enable, expected in ((False, 0), (True, 0x1234), (False, 0x1234)):
        spi.deselect()
        if enable: spi.out(6, 8)
        spi.deselect()
        spi.out(5, 8)
        assert spi.into(8) == (2 if enable else 0)  # of its status: writing is enabled, and nothing is being written
        spi.deselect()
        spi.out(2, 8)
        spi.out(2 * 0x200, 16)
        spi.out(0x3412 if enable else 0x7856, 16)
        assert spi.read(0x200) == eerd(card, 0x200) == expected


def test_a_chip_that_is_not_granted_hears_nothing(make: Callable[..., Card]) -> None:
    card = make()
    spi = Spi(card)
    card.write(c.EEC, card.read(c.EEC) & ~REQUEST)
    assert spi.read(0) == 0


class I2c:
    """The bus of the SFP+ cage."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def set(self, clock: bool, data: bool) -> bool:
        """Drives the lines; the level of the data line."""
        self.card.write(I2CCTL, CLOCK * clock | DATA * data)
        level = self.card.read(I2CCTL)
        assert bool(level & CLOCK >> 1) == clock
        return bool(level & DATA >> 1)

    def start(self) -> None:
        self.set(False, True)
        for clock, data in ((True, True), (True, False), (False, False)): self.set(clock, data)

    def stop(self) -> None:
        self.set(False, False)
        for data in (False, True): self.set(True, data)

    def bit(self, value: bool) -> bool:
        self.set(False, value)
        level = self.set(True, value)
        self.set(False, value)
        return level

    def byte(self, value: int) -> bool:
        """Whether it was acknowledged."""
        for i in reversed(range(8)): self.bit(bool(value >> i & 1))
        return not self.bit(True)

    def into(self, acknowledge: bool) -> int:
        value = 0
        for _ in range(8): value = value << 1 | self.bit(True)
        self.bit(not acknowledge)
        return value

    def read(self, at: int, count: int = 1) -> bytes:
        self.start()
        assert self.byte(0xA0)
        assert self.byte(at)
        self.start()
        assert self.byte(0xA1)
        found = bytes(self.into(i < count - 1) for i in range(count))
        self.stop()
        return found


def test_the_module_says_what_it_is(make: Callable[..., Card]) -> None:
    """SFF-8472: an SFP (3), fibre connector LC (7), 10GBASE-SR (bit 4); check sums of its two parts."""
    i2c = I2c(make())
    page = i2c.read(0, 96)
    assert (page[0], page[2], page[3] & 0xF0, page[8] & 0x0C) == (3, 7, 0x10, 0)
    assert (sum(page[:63]) % 256, sum(page[64:95]) % 256) == (page[63], page[95])
    for at in (0, 3, 63): assert i2c.read(at) == page[at : at + 1]
    assert i2c.read(20, 16) == page[20:36]


def test_nobody_else_is_on_the_modules_bus(make: Callable[..., Card]) -> None:
    i2c = I2c(make())
    i2c.start()
    assert not i2c.byte(0xA2)
    i2c.stop()
    assert i2c.read(0) == b"\x03"
    i2c.start()
    i2c.byte(0xA0)
    i2c.stop()  # in the middle
    assert i2c.read(2) == b"\x07"


@pytest.mark.parametrize(
    ("options", "there"), [({}, True), ({"empty_cage": True}, False), ({"device_id": 0x10F7}, False)]
)
def test_whether_there_is_a_module(make: Callable[..., Card], options: dict[str, int], there: bool) -> None:
    """SDP2 is the cage's pin; drivers believe in no link where it is low (10FB has a cage, 10F7 none)."""
    card = make(link_at_reset=True, **options)
    for _ in range(2):
        assert bool(card.read(ESDP) & 4) == there
        card.write(ESDP, 0)
        assert bool(card.read(ESDP) & 4) == there
        card.write(ESDP, 1 << 10)  # an output now
        assert not card.read(ESDP) & 4
        card.write(c.CTRL, 1 << 26)
    i2c = I2c(card)
    i2c.start()
    assert i2c.byte(0xA0) == there
    card.write(c.AUTOC, 3 << 13 | 1 << 12)
    card.poll()
    assert bool(card.read(c.LINKS) >> 30 & 1) == (not options.get("empty_cage", False))


def test_no_phy_answers(make: Callable[..., Card]) -> None:
    """MDIO, clause 45: an address cycle, then a read, which ends with the line high."""
    card = make()
    for phy in (0, 31):
        for operation in (0, 3):
            card.write(MSCA, 1 << 30 | operation << 26 | phy << 21 | 1 << 16 | 2)
            assert not card.read(MSCA) >> 30 & 1
        assert card.read(MSRWD) >> 16 == 0xFFFF


def test_what_a_driver_needs_to_know_for_a_module(make: Callable[..., Card]) -> None:
    """Word 2B: where words for each kind of module are, the first of them their number, until FFFF; 2C bit 0: any."""
    card = make()
    assert eerd(card, 0x2C) & 1
    at = eerd(card, 0x2B) + 1
    found = {}
    while (kind := eerd(card, at)) != 0xFFFF:
        found[kind] = eerd(card, at + 1)
        at += 2
    assert found.keys() >= {5, 6}  # fibre, either port
    for data in found.values():
        end = [eerd(card, data + 1 + i) for i in range(8)]
        assert 0xFFFF in end[1:]
