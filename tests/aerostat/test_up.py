"""``aerostat up`` and machines from descriptions: what runs, what is kept apart, how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from abi.stack import LONGEST_STRING
from aerostat import Machine
from aerostat.description.assembly import DescribedMachine
from aerostat.description.file import parse_description
from aerostat.description.machine import MachineDescription, ProgramDescription
from aerostat.description.problems import DescriptionError
from aerostat.prefixed_output import LONGEST_LINE, PrefixedOutput
from hv.failures import OutOfMemory
from hv.hosting import Endpoint, Handle
from tests.aerostat.programs import (
    BUILT,
    GUARD,
    REPOSITORY,
    Capture,
    aerostat,
    assert_idle,
    assert_no_traceback,
    built,
    command_environment,
    command_line,
    open_files,
)

pytestmark = pytest.mark.kvm

VOTING = REPOSITORY / "userland" / "demo" / "voting.toml"


def described(text: str, **options: str) -> DescribedMachine:
    """A machine of what a text describes, in which programs' paths begin where they are built."""
    return Machine.from_description(parse_description(text, "test.toml", str(BUILT)), **options)


def up(tmp_path: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """``aerostat up`` of a file with this text, where BUILT stands for where programs are built."""
    path = tmp_path / "machine.toml"
    path.write_text(text.replace("BUILT", str(BUILT)))
    return aerostat("up", *options, path)


# The example.


def test_the_example_runs_and_each_line_names_its_program() -> None:
    done = aerostat("up", "--prefix", "--check", "full", VOTING)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [
        "office/tally: 2 for 1", "reporter: 4", "voters/ann: voted for 1, the second vote was refused",
        "voters/bob: voted for 1, the second vote was refused",
    ]  # fmt: skip


def test_who_was_given_no_handle_cannot_vote() -> None:
    """Guessing what another's handle is, is of no use: handles are a process's own."""
    text = VOTING.read_text().replace(
        'endpoints = { ballots = { rights = "send", badge = 2 } }',
        'environment = { AERO_ENDPOINT_BALLOTS = "65536" }',
    )
    with Machine.from_description(parse_description(text, directory=str(VOTING.parent))) as machine:
        machine.start()
        assert machine.wait() == 1
        assert {name: program.status for name, program in machine.programs.items()} == {
            "tally": 0, "ann": 0, "bob": 1, "reporter": 0,
        }  # fmt: skip


def test_the_examples_of_the_reference_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reference = (REPOSITORY / "docs" / "machine-files.md").read_text()
    monkeypatch.chdir(REPOSITORY)
    (toml,) = re.findall(r"```toml\n(.*?)```", reference, re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", reference, re.DOTALL)
    path = tmp_path / "machine.toml"
    for name in ("docs", "build"): (tmp_path / name).symlink_to(REPOSITORY / name)
    path.write_text(toml)
    printed = io.StringIO()
    for block in blocks:
        with redirect_stdout(printed): exec(block.replace("machine.toml", str(path)), {})
    assert printed.getvalue().count("exit status 0") == len(blocks) == 2
    told = re.search(r"```\n(machine\.toml:.*?)```", reference, re.DOTALL)
    assert told is not None
    wrong = toml.replace("memory = \"8M\"", "memry = \"8M\"").replace("{ ballots = { rights", "{ balots = { rights")
    assert aerostat_errors(tmp_path, wrong)[:1] == told[1].splitlines()[:1]
    assert aerostat_errors(tmp_path, wrong.replace("memry", "memory"))[-1:] == told[1].splitlines()[1:]


def aerostat_errors(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "machine.toml").write_text(text)
    done = aerostat("up", "machine.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.splitlines()


# Exit statuses.

STATUSES = """
[program.first]
file = "BUILT/demo/hello"
[program.second]
file = "busybox"
arguments = ["sh", "-c", "exit 3"]
[program.third]
file = "busybox"
arguments = ["sh", "-c", "exit 4"]
"""


def test_the_first_status_that_is_not_0(tmp_path: Path) -> None:
    done = up(tmp_path, STATUSES)
    assert (done.returncode, done.stdout, done.stderr) == (3, "hello from ring 3\n", "")


def test_the_main_programs_status_whatever_the_others_do(tmp_path: Path) -> None:
    endless = '[program.endless]\nfile = "BUILT/tests/spin"\n'
    done = up(tmp_path, endless + STATUSES + "main = true\n")
    assert (done.returncode, done.stderr) == (4, "")


def test_a_fault_is_reported_with_the_programs_name(tmp_path: Path) -> None:
    text = '[program.p]\nfile = "BUILT/tests/faults"\narguments = ["null-read"]\n'
    done = up(tmp_path, text + BOX + 'container = "box"\n')
    assert done.returncode == 139
    assert done.stderr.startswith("aerostat: p: ")
    assert "page fault" in done.stderr


BOX = '[container.box]\nmemory = "8M"\n[program.q]\nfile = "BUILT/demo/hello"\n'


def test_the_time_limit_ends_all_programs(tmp_path: Path) -> None:
    text = '[program.a]\nfile = "BUILT/tests/spin"\n[program.b]\nfile = "BUILT/tests/spin"\n'
    done = up(tmp_path, text, "--timeout", "0.3")
    assert done.returncode == 124
    assert done.stderr.splitlines() == [f"aerostat: {name}: the machine's time limit of 0.3 s reached" for name in "ab"]
    assert up(tmp_path, text + "[machine]\ntime_limit = 0.3\n").returncode == 124
    assert up(tmp_path, text, "--timeout", "0").returncode == 2


def test_a_programs_own_time_limit(tmp_path: Path) -> None:
    text = '[program.a]\nfile = "BUILT/tests/spin"\ntime_limit = 0.2\n' + STATUSES
    done = up(tmp_path, text, "--json")
    found = json.loads(done.stderr)
    assert [program["status"] for program in found["programs"].values()] == [124, 0, 3, 4]


def test_ctrl_c_ends_all_programs(tmp_path: Path) -> None:
    path = tmp_path / "machine.toml"
    programs = "".join(f'[program.{name}]\nfile = "{built("tests/races")}"\narguments = ["hammer"]\n' for name in "ab")
    path.write_text('[machine]\ncores = 2\nmemory = "24M"\n' + programs)
    process = subprocess.Popen(
        command_line("up", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=command_environment()
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in "ab"] == [b"hammering\n"] * 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert_no_traceback(errors.decode())
    assert errors.decode().splitlines() == [f"aerostat: {name}: ended by SIGINT" for name in "ab"]


def test_no_such_file_and_no_such_command(tmp_path: Path) -> None:
    done = aerostat("up", tmp_path / "missing.toml")
    assert (done.returncode, done.stderr) == (127, f"aerostat: {tmp_path}/missing.toml: No such file or directory\n")
    done = aerostat("up", tmp_path)
    assert (done.returncode, done.stderr) == (125, f"aerostat: {tmp_path}: Is a directory\n")


def test_json_has_each_program_and_the_counts(tmp_path: Path) -> None:
    done = up(tmp_path, STATUSES, "--json")
    found = json.loads(done.stderr)
    assert found["status"] == 3
    assert found["failure"] is None
    assert {name: program["status"] for name, program in found["programs"].items()} == {
        "first": 0, "second": 3, "third": 4,
    }  # fmt: skip
    assert found["statistics"]["programs"] == 3


# Errors that only the host, or the machine, can know.

HOST_ERRORS = [
    ('[program.p]\nfile = "demo/nothing"\n', "test.toml:2: program.p.file: .*demo/nothing: .*No such file"),
    ('[program.p]\nfile = "no-such-program-anywhere"\n', "test.toml:2: program.p.file: .* was not found in PATH"),
    ('[program.p]\nfile = "../../README.md"\n', "test.toml:2: program.p.file: .*README.md: "),
    ('[program.p]\nfile = "demo/hello"\nallow_read = ["demo",\n"no-such-directory"]\n',
     r"test.toml:4: program.p.allow_read.1: .*no-such-directory: no such file"),
    ('[program.p]\nfile = "demo/hello"\nstdout = "no/such/file"\n', "test.toml:3: program.p.stdout: .*No such file"),
    ('[program.p]\nfile = "demo/hello"\ncontainer = "c"\n[container.c]\npages = 20\n',
     "test.toml:4: container.c.memory: .*needs more memory than its container has.*give it more"),
    ('[program.p]\nfile = "demo/hello"\ncontainer = "c"\n[container.c]\npages = 1\n',
     "test.toml:4: container.c.memory: no memory for another process; give it more"),
    ('[machine]\nmemory = "2M"\n[program.p]\nfile = "demo/hello"\n', "test.toml:2: machine.memory: .*than the machine"),
    (f'[program.p]\nfile = "demo/hello"\narguments = ["{"x" * LONGEST_STRING}"]\n', "test.toml:3: program.p.arguments"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), HOST_ERRORS, ids=range(len(HOST_ERRORS)))
def test_an_error_of_the_host_or_the_machine_names_its_line(text: str, told: str) -> None:
    before = open_files()
    with pytest.raises(DescriptionError) as raised: described(text)
    assert re.match(told, str(raised.value)), raised.value
    assert open_files() == before


# Containers.

TREE = """
[container.outer]
memory = "24M"
[container.inner]
parent = "outer"
memory = "12M"
[program.p]
file = "tests/exhaust"
arguments = ["memory"]
container = "inner"
linux = false
[program.q]
file = "tests/exhaust"
arguments = ["blocks"]
linux = false
"""


def test_a_program_can_use_up_its_container_and_nothing_else() -> None:
    with described(TREE, check="full") as machine:
        k = machine.hypervisor.kernel
        inner, outer = (k.container[machine.containers[name].id] for name in ("inner", "outer"))
        assert inner.path[1] == outer.id == inner.parent
        machine.start()
        assert machine.wait() == 0
        assert inner.pages + 512 * inner.blocks == 6 * 512
        assert outer.pages + 512 * outer.blocks == 6 * 512 - 1
        assert machine.audit() > 0


def test_killing_a_container_ends_what_is_in_it_and_below() -> None:
    text = TREE.replace('arguments = ["memory"]\n', "").replace("exhaust", "spin", 1)
    with described(text + 'container = "outer"\n') as machine:
        machine.start()
        assert machine.programs["q"].wait() == 0
        assert machine.programs["p"].status is None
        machine.containers["outer"].kill()
        assert machine.programs["p"].wait() == 137
        assert machine.containers["inner"].gone
        assert machine.containers["outer"].gone
        machine.containers["outer"].kill()
        assert_idle(machine)


def test_all_comes_back_at_the_end() -> None:
    before = open_files()
    with described(TREE.replace("exhaust", "spin") + 'container = "outer"\n', check="full") as machine:
        machine.start()
        k = machine.hypervisor.kernel
    root = k.container[k.root]
    assert (root.used_pages, root.used_blocks, root.child_count) == (1, 0, 0)
    assert open_files() == before


def test_a_machine_that_was_never_started_is_closed() -> None:
    text = VOTING.read_text().replace("../../build/userland/", "")
    with described(text) as machine: assert len(machine.programs) == 4


def test_a_container_uses_its_own_cores_and_others_do_not() -> None:
    text = TREE.replace("exhaust", "spin") + '[machine]\ncores = 3\nmemory = "64M"\n'
    text = text.replace('memory = "24M"\n', 'memory = "24M"\ncores = 2\n').replace("q]", 'q]\ncontainer = "outer"')
    with described(text.replace('"12M"', '"12M"\ncores = 1')) as machine:
        k = machine.hypervisor.kernel
        machine.start()
        owners = {}
        for name, program in machine.programs.items():
            (thread,) = program.process.threads
            owners[name] = k.core[k.thread[thread.id].core].container
        assert owners == {"p": machine.containers["inner"].id, "q": machine.containers["outer"].id}
        assert [k.container[c].core_count for c in (k.root, owners["q"], owners["p"])] == [1, 1, 1]


# Linux, or not.


def test_a_linux_program_in_a_container_without_linux_calls() -> None:
    text = '[container.c]\nmemory = "16M"\nlinux = false\n[program.p]\nfile = "busybox"\n' \
           'arguments = ["echo", "x"]\ncontainer = "c"\n'  # fmt: skip
    with described(text) as machine:
        machine.start()
        assert machine.wait() != 0
        assert machine.programs["p"].personality is None


def test_directories_are_granted_to_one_program_alone(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("for a only\n")
    program = '[program.{}]\nfile = "busybox"\narguments = ["cat", "{}/secret"]\nstdout = "{}/out"\n'
    text = program.format("b", tmp_path, tmp_path) + program.format("a", tmp_path, tmp_path)
    with described(text + f'allow_read = ["{tmp_path}"]\n') as machine:
        machine.start()
        assert machine.wait() == 1
        assert [program.status for program in machine.programs.values()] == [1, 0]
    assert (tmp_path / "out").read_text() == "for a only\n"


def test_two_programs_write_to_one_file_and_read_from_another(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("line\n")
    (tmp_path / "out").write_text("old")
    program = '[program.{}]\nfile = "busybox"\narguments = ["wc", "-l"]\nstdin = "{}/in"\nstdout = "{}/out"\n'
    with described("".join(program.format(name, tmp_path, tmp_path) for name in "ab")) as machine:
        machine.start()
        assert machine.wait() == 0
    assert (tmp_path / "out").read_text() == "1\n1\n"


def test_environment_and_arguments_are_just_what_is_described(tmp_path: Path) -> None:
    text = (
        '[program.p]\nfile = "busybox"\narguments = ["env"]\nenvironment = { A = "b c" }\n'
        f'stdout = "{tmp_path}/out"\n'
        'endpoints.x-y = ["send", "receive"]\n[endpoint.x-y]\n'
    )
    with described(text) as machine:
        machine.start()
        assert machine.wait() == 0
    assert (tmp_path / "out").read_text() == "A=b c\nAERO_ENDPOINT_X_Y=65536\n"


# Python alone.


def test_containers_endpoints_and_handles_without_a_description() -> None:
    printed = Capture()
    with Machine("32M", check="full") as machine:
        box = machine.create_container("box", "8M")
        inner = machine.create_container("inner", pages=100, parent=box)
        endpoint = machine.create_endpoint(inner)
        tally = machine.load(
            built("demo/tally"), container=box, handles=[Handle("AERO_ENDPOINT_BALLOTS", endpoint, 2)], linux=False,
            stdout=printed.fd,
        )  # fmt: skip
        voter = machine.load(
            built("demo/voter"), ["voter", "3"], handles=[Handle("AERO_ENDPOINT_BALLOTS", endpoint, 1, 5)], linux=False,
            stdout=printed.fd,
        )  # fmt: skip
        k = machine.hypervisor.kernel
        assert k.page[endpoint.id].owner == inner.id
        tally.start()
        voter.start()
        assert (voter.wait(), tally.wait()) == (0, 0)
        assert endpoint.gone
        assert printed.text() == "voted for 3, the second vote was refused\n1 for 3\n"
        with pytest.raises(ValueError, match="went with the last handle"):
            machine.load(built("demo/hello"), handles=[Handle("A", endpoint, 1)])
        with pytest.raises(OutOfMemory): machine.create_container("large", "32M")
        with pytest.raises(OutOfMemory): machine.load(built("demo/hello"), container=inner)
        with pytest.raises(ValueError, match="no such container, rights or badge"):
            machine.load(built("demo/hello"), handles=[Handle("A", Endpoint(k.root), 8)])
        box.kill()
        with pytest.raises(ValueError, match="box has ended"): machine.load(built("demo/hello"), container=box)
        with pytest.raises(ValueError, match="box has ended"): machine.create_container("x", "1M", parent=box)
        with pytest.raises(ValueError, match="box has ended"): machine.create_endpoint(box)
        assert_idle(machine)


def test_a_description_in_python() -> None:
    description = MachineDescription(programs={"p": ProgramDescription(built("demo/hello"), stdout="none", main=True)})
    with Machine.from_description(description) as machine:
        assert machine.main is machine.programs["p"]
        machine.start()
        assert machine.wait() == 0
    with pytest.raises(DescriptionError, match="there is no program"): Machine.from_description(MachineDescription())


# Lines with names before them.


def test_lines_of_programs_stay_whole() -> None:
    read, target = os.pipe()
    output = PrefixedOutput()
    first, second, gone = (output.pipe(f"{name}: ", target) for name in ("one", "two", "gone"))
    output._sources[max(output._sources)].target = 1 << 20  # a descriptor that is not open
    output.start()
    os.write(first, b"a")
    os.write(second, b"\n\nb\n")
    os.write(gone, b"lost\n")
    os.write(first, b"c\nd")
    output.close()
    os.close(target)
    with os.fdopen(read, "rb") as file: lines = file.read().splitlines()
    assert sorted(lines) == [b"one: ac", b"one: d", b"two: ", b"two: ", b"two: b"]


def test_a_line_without_an_end_is_broken() -> None:
    read, target = os.pipe()
    output = PrefixedOutput()
    end = output.pipe("p: ", target)
    output.start()
    with os.fdopen(read, "rb") as file:
        os.write(end, b"x" * LONGEST_LINE)
        assert file.readline().startswith(b"p: x")
        output.close()
        os.close(target)
