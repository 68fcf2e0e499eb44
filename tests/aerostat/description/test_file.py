"""Descriptions read from files: what they become, and errors that name the line and what to do."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from aerostat.description.check import check
from aerostat.description.file import parse_description, read_description
from aerostat.description.machine import (
    ContainerDescription,
    DeviceDescription,
    EndpointDescription,
    HandleDescription,
    MachineDescription,
    ProgramDescription,
)
from aerostat.description.problems import DescriptionError
from tests.aerostat.programs import REPOSITORY

WHOLE = """\
[machine]
memory = "64M"
cores = 3
check = "full"
time_limit = 7.5
invariants = ["all.py"]
on_violation = "report"

[container.outer]
memory = "16M"
cores = 2

[container.inner]
parent = "outer"
memory = 8192
pages = 3
blocks = 2
cores = 1
linux = false

[endpoint.requests]
container = "inner"

[endpoint.spare]
timer = 0.25

[program.server]
file = "bin/server"
container = "inner"
endpoints = { requests = "receive", spare = ["send", "receive"] }

[program.client]
file = "./client"
arguments = ["-v", "x y"]
environment = { A = "1" }
endpoints.requests = { rights = ["send", "grant"], badge = 7 }
linux = true
main = true
time_limit = 2
allow_read = ["data"]
allow_write = ["/tmp/out"]
cwd = "data/sub"
stdin = "inherit"
stdout = "out.txt"
stderr = "none"
pager = "requests"
pager_badge = 9
invariants = ["a.py", "b.py"]
"""


def test_a_file_with_every_key() -> None:
    found = parse_description(WHOLE, "some/where.toml")
    assert check(found) == []
    expected = MachineDescription(
        memory="64M", cores=3, check="full", time_limit=7.5, directory="some",
        invariants=("all.py",), on_violation="report",
        containers={
            "outer": ContainerDescription(memory="16M", cores=2),
            "inner": ContainerDescription(parent="outer", memory=8192, pages=3, blocks=2, cores=1, linux=False),
        },
        endpoints={"requests": EndpointDescription("inner"), "spare": EndpointDescription(timer=0.25)},
        programs={
            "server": ProgramDescription(
                "bin/server", container="inner",
                endpoints={
                    "requests": HandleDescription(("receive",)), "spare": HandleDescription(("send", "receive")),
                },
            ),
            "client": ProgramDescription(
                "./client", arguments=("-v", "x y"), environment={"A": "1"}, linux=True, main=True, time_limit=2,
                endpoints={"requests": HandleDescription(("send", "grant"), 7)}, allow_read=("data",),
                allow_write=("/tmp/out",), cwd="data/sub", stdin="inherit", stdout="out.txt", stderr="none",
                pager="requests", pager_badge=9, invariants=("a.py", "b.py"),
            ),
        },
    )  # fmt: skip
    assert dataclasses.replace(found, source=None) == expected
    assert found.path("bin/server") == "some/bin/server"


PROGRAM = '[program.p]\nfile = "/bin/true"\n'

WRONG = [
    # What is no TOML, and names that come twice.
    ("[program.p\n", 1, "Expected ']'"),
    (PROGRAM + 'file = "x"\n', 3, "can be used once"),
    (PROGRAM + PROGRAM, 3, r"'p'\) twice.*can be used once"),
    # Keys and tables.
    (PROGRAM + '[machnie]\nmemory = "1G"\n', 3, "machnie: unknown key; did you mean 'machine'"),
    (PROGRAM + "[machine]\nmemroy = 5\n", 4, "machine.memroy: unknown key; did you mean 'memory'"),
    (PROGRAM + "xyzzy = 5\n", 3, "unknown key; the keys are: allow_read, .*time_limit"),
    ('[[program]]\nfile = "x"\n', 1, r"write \[program.NAME\]"),
    ("program = 3\n", 1, "this is a number; write a table"),
    (PROGRAM + "[container]\na = 3\n", 4, "container.a: this is a number; write a table"),
    # Types.
    ("[program.p]\nfile = 3\n", 2, "this is a number; write a string"),
    (PROGRAM + "main = 1\n", 3, "write true or false"),
    (PROGRAM + 'arguments = "a"\n', 3, "this is a string; write an array of strings"),
    (PROGRAM + 'arguments = ["a",\n  "b", 3]\n', 4, r"arguments\.2: this is a number; write a string"),
    (PROGRAM + 'environment = ["A=b"]\n', 3, "this is an array; write a table"),
    (PROGRAM + "environment = { A = true }\n", 3, r"environment\.A: this is a boolean; write a string"),
    (PROGRAM + "time_limit = 1979-05-27\n", 3, "this is a date or time; write a number of seconds"),
    (PROGRAM + "endpoints.e = 3\n", 3, "this is a number; write a table"),
    (PROGRAM + "[machine]\ncores = 1.5\n", 4, "write a whole number"),
    (PROGRAM + "[machine]\nmemory = true\n", 4, 'write a size such as "64M"'),
    # The machine.
    ("[machine]\ncores = 1\n", 1, r"there is no program: write \[program.NAME\]"),
    (PROGRAM + '[machine]\nmemory = "much"\n', 4, "'much' is not a size"),
    (PROGRAM + '[machine]\nmemory = "1M"\n', 4, "not within 2M to 128G"),
    (PROGRAM + "[machine]\ncores = 65\n", 4, "65 cores are not within 1 to 64"),
    (PROGRAM + '[machine]\ncheck = "some"\n', 4, "'some' is not one of off, touched, full"),
    (PROGRAM + "[machine]\ntime_limit = 0\n", 4, "0 s is not more than 0"),
    # Names.
    ('["program"."1st"]\nfile = "/bin/true"\n', 1, "begins with a letter"),
    (PROGRAM + 'endpoints = { a-b = "receive", a_b = "receive" }\n[endpoint.a-b]\n[endpoint.a_b]\n', 5,
     "could not tell it from 'a-b'"),
    # Containers.
    (PROGRAM + '[container.a]\nmemory = "1M"\nparent = "b"\n', 5, "there is no container 'b'; the containers are: a"),
    (PROGRAM + '[container.a]\nmemory = "1M"\nparent = "a"\n', 5, "inside itself"),
    (PROGRAM + '[container.a]\nmemory = "1M"\nparent = "b"\n[container.b]\nmemory = "1M"\nparent = "a"\n', 5,
     "inside itself"),
    (PROGRAM + "[container.a]\n", 3, "it has no memory"),
    (PROGRAM + '[container.a]\nmemory = "-1M"\n', 4, "is not a size"),
    (PROGRAM + "[container.a]\nmemory = -4096\n", 4, "not less than 0"),
    (PROGRAM + "[container.a]\nblocks = -1\n", 4, "not less than 0"),
    (PROGRAM + '[container.a]\nmemory = "256M"\n', 4, "256M do not fit: 255M and 1016K of the machine are left"),
    (PROGRAM + '[container.a]\nmemory = "8M"\n[container.b]\nparent = "a"\nblocks = 5\n', 7,
     "10M do not fit: 7M and 1020K of 'a' are left; give it less, or its parent more"),
    (PROGRAM + '[container.a]\nmemory = "8M"\n[container.b]\nparent = "a"\nmemory = "5M"\n'
     '[container.c]\nparent = "a"\nmemory = "5M"\n', 10, "5M do not fit: 2M and 1016K of 'a' are left"),
    (PROGRAM + "[container.a]\ngiants = 1\n", 4, "1G do not fit"),
    (PROGRAM + '[container.a]\nmemory = "8M"\nlinux = false\n[container.b]\nparent = "a"\nmemory = "1M"\n'
     "linux = true\n", 9, "its parent 'a' says linux = false"),
    (PROGRAM + '[container.a]\nmemory = "8M"\ncores = 1\n', 5,
     "1 cores are too many: the machine has 0 to give, as it keeps one"),
    ('[machine]\ncores = 4\n' + PROGRAM + '[container.a]\nmemory = "8M"\n[container.b]\nparent = "a"\nmemory = "4M"\n'
     'cores = 1\n', 10, "its parent 'a' has 0 to give"),
    ('[machine]\ncores = 4\n' + PROGRAM + '[container.a]\nmemory = "8M"\ncores = 2\n[container.b]\nmemory = "8M"\n'
     'cores = 2\n', 10, "the machine has 1 to give"),
    (PROGRAM + '[container.a]\nmemory = "8M"\ncores = -1\n', 5, "not less than 0"),
    # Endpoints.
    (PROGRAM + 'endpoints.e = "receive"\n[endpoint.e]\ncontainer = "x"\n', 5, "there is no container 'x'"),
    (PROGRAM + '[endpoint.e]\n[program.q]\nfile = "x"\nendpoints.e = "send"\n', 3, "no program can receive from it"),
    (PROGRAM + 'endpoints.e = "receive"\nendpoints.f = "send"\n[endpoint.e]\n', 4,
     "there is no endpoint 'f'; the endpoints are: e"),
    (PROGRAM + 'endpoints.e = ["receive", "take"]\n[endpoint.e]\n', 3, "'take' is no right: write some of send"),
    (PROGRAM + 'endpoints.e = []\n[endpoint.e]\n[program.q]\nfile = "x"\nendpoints.e = "receive"\n', 3, "no rights"),
    (PROGRAM + 'endpoints.e = { rights = "receive", badge = -1 }\n[endpoint.e]\n', 3, "badge: a badge is a number"),
    (PROGRAM + 'endpoints.e = { right = "receive" }\n[endpoint.e]\n', 3, "unknown key; did you mean 'rights'"),
    # Programs.
    ("[program.p]\n", 1, "it has no file"),
    (PROGRAM + 'container = "x"\n', 3, "there is no container 'x'"),
    (PROGRAM + 'main = true\n[program.q]\nfile = "x"\nmain = true\n', 6, "'p' is the main program already"),
    (PROGRAM + 'container = "a"\nlinux = true\n[container.a]\nmemory = "8M"\nlinux = false\n', 4,
     "its container 'a' says linux = false"),
    (PROGRAM + 'linux = false\nallow_read = ["/"]\n', 4, "it gets no Linux system calls"),
    (PROGRAM + "time_limit = -1\n", 3, "not more than 0"),
    (PROGRAM + 'cwd = "/etc"\nallow_read = ["/usr"]\n', 3, "not within what allow_read or allow_write grants"),
    (PROGRAM + 'arguments = ["a\\u0000b"]\n', 3, "zero byte"),
    (PROGRAM + 'environment = { "A=B" = "c" }\n', 3, "no name or value"),
    # Devices.
    (PROGRAM + '[device.disk]\nkind = "nvme"\npath = "0000:00:04.0"\n', 5,
     "unknown key"),
    (PROGRAM + "[device.disk]\n", 3, "it has no kind: write one of pci, nvme, ixgbe"),
    (PROGRAM + '[device.disk]\nkind = "disk"\n', 4, "there is no kind of device 'disk': write one of pci"),
    (PROGRAM + '[device.disk]\nkind = "pci"\naddress = "5"\n', 5, "'5' is no PCI address"),
    (PROGRAM + '[device.disk]\nkind = "pci"\naddress = "0000:05:00.0"\noptions = { a = "b" }\n', 6, "no options"),
    (PROGRAM + '[device.disk]\nkind = "nvme"\naddress = "0000:05:00.0"\n', 5, "only a pci device has an address"),
    (PROGRAM + '[device.disk]\nkind = "nvme"\ncontainer = "a"\n', 5, "there is no container 'a'"),
    (PROGRAM + 'devices = ["disk"]\n', 3, "there is no device 'disk'; none is described"),
    (PROGRAM + 'devices = ["disk"]\n[program.b]\nfile = "x"\ndevices = ["disk"]\n[device.disk]\nkind = "nvme"\n', 6,
     "holds 'disk'"),
    (PROGRAM + "[device]\ndisk = 3\n", 4, "this is a number; write a table"),
    # Pagers, timers, invariants.
    (PROGRAM + 'pager = "falts"\n[program.q]\nfile = "x"\nendpoints.faults = "receive"\n[endpoint.faults]\n', 3,
     "there is no endpoint 'falts'; did you mean 'faults'"),
    (PROGRAM + 'pager = "e"\n[endpoint.e]\n', 4, "no program can receive from it"),
    (PROGRAM + 'pager = "e"\npager_badge = -1\nendpoints.e = "receive"\n[endpoint.e]\n', 4, "0 to 2\\^63 - 1"),
    (PROGRAM + "pager_badge = 3\n", 3, "it has no pager"),
    (PROGRAM + 'endpoints.e = "receive"\n[endpoint.e]\ntimer = 0\n', 5, "0 s is less than a timer can have.*0.001 s"),
    (PROGRAM + 'endpoints.e = "receive"\n[endpoint.e]\ntimer = nan\n', 5, "nan s is less than a timer can have"),
    (PROGRAM + 'endpoints.e = "receive"\n[endpoint.e]\ntimer = "1s"\n', 5, "write a number of seconds"),
    (PROGRAM + 'invariants = "a.py"\n', 3, "write an array of strings"),
    (PROGRAM + '[machine]\non_violation = "ignore"\n', 4, "'ignore' is not one of stop, report, repl"),
]  # fmt: skip


def told_of(text: str, path: str) -> list[str]:
    """What a user is told of this text."""
    try:
        found = parse_description(text, path)
    except DescriptionError as error:
        return str(error).splitlines()
    return str(DescriptionError(check(found), found.source)).splitlines()


@pytest.mark.parametrize(("text", "line", "told"), WRONG, ids=[told for _, _, told in WRONG])
def test_an_error_names_the_line_and_what_to_do(text: str, line: int, told: str) -> None:
    problems = told_of(text, "my.toml")
    assert len(problems) == 1 or "inside itself" in told or "it has no file" in told, problems
    assert re.match(f"my\\.toml:{line}: .*({told})", problems[0]), problems


def test_all_problems_are_told_in_the_order_of_their_lines() -> None:
    text = '[program.p]\nfile = 3\n\n[machine]\nx = 1\ncores = "2"\n[container.c]\nmemory = []\n'
    with pytest.raises(DescriptionError) as raised: parse_description(text, "m.toml")
    assert [line.split(": ")[:2] for line in str(raised.value).splitlines()] == [
        ["m.toml:2", "program.p.file"], ["m.toml:5", "machine.x"], ["m.toml:6", "machine.cores"],
        ["m.toml:8", "container.c.memory"],
    ]  # fmt: skip
    assert raised.value.problems[0].where == ("program", "p", "file")


def test_what_python_describes_has_no_lines() -> None:
    described = MachineDescription(cores=0, programs={"p": ProgramDescription("x", container="c")})
    text = str(DescriptionError(check(described)))
    assert text.splitlines() == [
        "machine.cores: 0 cores are not within 1 to 64",
        "program.p.container: there is no container 'c'; none is described",
    ]


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"[machine]\n# \xe9\n")
    with pytest.raises(DescriptionError, match=r"latin\.toml:2: this is not UTF-8"): read_description(path)


def test_lines_that_end_as_on_windows() -> None:
    text = PROGRAM.replace("\n", "\r\n") + "[machine]\r\ncores = 'x'\r\n"
    with pytest.raises(DescriptionError, match=r"m\.toml:4: "): parse_description(text, "m.toml")


def test_the_reference_has_every_key() -> None:
    reference = (REPOSITORY / "docs" / "machine-files.md").read_text()
    for of in (MachineDescription, ContainerDescription, DeviceDescription, EndpointDescription, HandleDescription,
               ProgramDescription):  # fmt: skip
        for field in dataclasses.fields(of):
            if "kind" in field.metadata: assert f"| `{field.name}` |" in reference, (of, field.name)
