"""The EEPROM of a modelled 82599 (datasheet section 6): what drivers read of it, and its checksum."""

from __future__ import annotations

import re
from array import array
from typing import Final

WORDS: Final = 8192
CHECKSUM_AT: Final = 0x3F
SUM: Final = 0xBABA
"""What words 0 to 3F add up to, with the sections that pointers 03 to 0E name; there are none here."""


def parse_mac(text: str) -> bytes:
    """``02:82:59:90:00:01`` as 6 bytes.  ValueError for other words."""
    if re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", text, re.IGNORECASE) is None:
        raise ValueError(f"{text!r} is no MAC address: write six bytes, such as 02:82:59:90:00:01")
    return bytes.fromhex(text.replace(":", ""))


class Eeprom:
    """16-bit words; the MAC address is at 0x40, in a section that no pointer names."""

    def __init__(self, mac: bytes) -> None:
        self.words = array("H", [0] * WORDS)
        self.words[0x00] = 0x2047  # a signature that says the words are valid
        # The firmware module, and of it the version of a patch that drivers of cards with SFP+ want to be 6 or more.
        self.words[0x0F], self.words[0x84], self.words[0x97] = 0x80, 0x90, 6
        self.words[0x2C] = 1  # any module may be put into the cage
        # Where it says for each kind of module (copper and fibre, of either port) what CORECTL is to be.
        self.words[0x2B] = 0xA0
        kinds = [word for kind in (3, 4, 5, 6) for word in (kind, 0xB0)]
        for at, section in ((0xA0, [len(kinds), *kinds, 0xFFFF]), (0xB0, [1, 0x0001, 0xFFFF])):
            self.words[at : at + len(section)] = array("H", section)
        for i in range(3):
            self.words[0x40 + i] = mac[2 * i] | mac[2 * i + 1] << 8
        self.words[CHECKSUM_AT] = (SUM - sum(self.words[:CHECKSUM_AT])) % 65536

    @property
    def mac(self) -> bytes:
        return b"".join(word.to_bytes(2, "little") for word in self.words[0x40:0x43])

    def read(self, word: int) -> int:
        """A word; 0xFFFF beyond the end."""
        return self.words[word] if 0 <= word < WORDS else 0xFFFF

    def write(self, word: int, value: int) -> None:
        if 0 <= word < WORDS: self.words[word] = value


__all__ = ["CHECKSUM_AT", "SUM", "WORDS", "Eeprom", "parse_mac"]
