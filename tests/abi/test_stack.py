"""The first stack, read back as a C library's start code reads it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.elf import read_image
from abi.image import Image
from abi.layout import STACK_SIZE, STACK_TOP
from abi.stack import (
    AT_BASE,
    AT_ENTRY,
    AT_EXECFN,
    AT_HWCAP,
    AT_NULL,
    AT_PAGESZ,
    AT_PHDR,
    AT_PHENT,
    AT_PHNUM,
    AT_PLATFORM,
    AT_RANDOM,
    AT_SECURE,
    AT_UID,
    LONGEST_STRING,
    ArgumentsTooLong,
    FirstStack,
    build_stack,
)
from tests.abi.elf_writer import CODE, Header, write_elf

RANDOM = bytes(range(16))


@pytest.fixture(scope="module")
def image() -> Image:
    data = write_elf(Header(data=CODE, offset=0, file_size=124), entry=0x40_0010)
    return read_image(data)


@dataclass
class Parsed:
    argv: list[bytes]
    env: list[bytes]
    auxv: list[tuple[int, int]]


class Reader:
    """Walks a stack by its addresses, as the program would."""

    def __init__(self, stack: FirstStack) -> None:
        self.stack = stack

    def word(self, address: int) -> int:
        at = address - self.stack.rsp
        assert 0 <= at <= len(self.stack.data) - 8
        return int(struct.unpack_from("<Q", self.stack.data, at)[0])

    def string(self, address: int) -> bytes:
        at = address - self.stack.rsp
        assert 0 <= at < len(self.stack.data)
        return self.stack.data[at : self.stack.data.index(b"\0", at)]

    def parse(self) -> Parsed:
        at = self.stack.rsp
        argc = self.word(at)
        lists: list[list[bytes]] = []
        for _ in range(2):
            strings: list[bytes] = []
            while (pointer := self.word(at := at + 8)) != 0:
                strings.append(self.string(pointer))
            lists.append(strings)
        assert len(lists[0]) == argc
        auxv: list[tuple[int, int]] = []
        while True:
            auxv.append((self.word(at + 8), self.word(at + 16)))
            at += 16
            if auxv[-1][0] == AT_NULL:
                return Parsed(lists[0], lists[1], auxv)


strings = st.binary(max_size=200).map(lambda data: data.replace(b"\0", b"."))


@settings(max_examples=200, deadline=None)
@given(argv=st.lists(strings, min_size=1, max_size=20), env=st.lists(strings, max_size=20),
       top=st.integers(STACK_TOP // 16 - 1000, STACK_TOP // 16))  # fmt: skip
def test_arguments_and_environment_come_back(argv: list[bytes], env: list[bytes], top: int) -> None:
    image = read_image(write_elf(Header(data=CODE)))
    stack = build_stack(image, argv, env, random=RANDOM, top=16 * top)
    assert stack.rsp % 16 == 0
    assert stack.rsp + len(stack.data) == 16 * top
    parsed = Reader(stack).parse()
    assert parsed.argv == argv
    assert parsed.env == env
    assert len({key for key, _ in parsed.auxv}) == len(parsed.auxv)


def test_the_auxiliary_vector_says_where_things_are(image: Image) -> None:
    stack = build_stack(
        image, [b"./prog", b"x"], [b"A=b"], random=RANDOM, executable=b"/bin/prog", uid=7, hwcap=0x1234,
        extra={AT_BASE: 0x7000, 51: 3632},
    )  # fmt: skip
    reader = Reader(stack)
    auxv = dict(reader.parse().auxv)
    assert auxv[AT_PHDR] == image.phdr_address == 0x40_0040
    assert (auxv[AT_PHENT], auxv[AT_PHNUM], auxv[AT_PAGESZ]) == (56, 1, 4096)
    assert auxv[AT_ENTRY] == 0x40_0010
    assert auxv[AT_UID] == 7
    assert auxv[AT_HWCAP] == 0x1234
    assert auxv[AT_SECURE] == 0
    assert auxv[AT_BASE] == 0x7000
    assert auxv[51] == 3632
    assert reader.string(auxv[AT_EXECFN]) == b"/bin/prog"
    assert reader.string(auxv[AT_PLATFORM]) == b"x86_64"
    at = auxv[AT_RANDOM] - stack.rsp
    assert stack.data[at : at + 16] == RANDOM
    default = Reader(build_stack(image, [b"./prog"], random=RANDOM))
    assert default.string(dict(default.parse().auxv)[AT_EXECFN]) == b"./prog"


def test_no_arguments_become_one_empty_one(image: Image) -> None:
    assert Reader(build_stack(image, [], random=RANDOM)).parse().argv == [b""]


def test_too_much_is_refused_and_what_just_fits_is_not(image: Image) -> None:
    longest = b"x" * (LONGEST_STRING - 1)
    assert Reader(build_stack(image, [longest], random=RANDOM)).parse().argv == [longest]
    with pytest.raises(ArgumentsTooLong, match="131072 bytes") as caught:
        build_stack(image, [longest + b"x"], random=RANDOM)
    assert caught.value.errno == 7
    with pytest.raises(ArgumentsTooLong):
        build_stack(image, [b"p"], [longest + b"x"], random=RANDOM)
    build_stack(image, [longest] * 14, random=RANDOM)  # and once more as AT_EXECFN
    with pytest.raises(ArgumentsTooLong, match=f"a quarter of the stack is {STACK_SIZE // 4}"):
        build_stack(image, [longest] * 15, random=RANDOM)
    with pytest.raises(ArgumentsTooLong):
        build_stack(image, [b""] * 300_000, random=RANDOM)
    with pytest.raises(ArgumentsTooLong):
        build_stack(image, [b"x" * 3000], random=RANDOM, size=8192)


def test_what_no_caller_may_give_is_an_error_of_the_caller(image: Image) -> None:
    with pytest.raises(ValueError, match="zero byte"):
        build_stack(image, [b"a\0b"], random=RANDOM)
    with pytest.raises(ValueError, match="16 random bytes"):
        build_stack(image, [b"a"], random=b"short")
    with pytest.raises(ValueError, match="no multiple of 16"):
        build_stack(image, [b"a"], random=RANDOM, top=STACK_TOP - 8)
