"""The project's tests hold on the other kind of host too: exactly the named files run in the lab, none skipped."""

import warnings

import pytest

from tests.lab.files import BATCHES
from tests.lab.kernel import ArchiveUnreachable
from tests.lab.lab import LabResult, LabUnavailable, run
from tests.lab.outside import CHECKS


@pytest.mark.lab
@pytest.mark.parametrize("batch", BATCHES)
def test_named_files_pass_in_the_lab(batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    def attempt() -> LabResult:
        wanted = BATCHES[batch]
        return run(wanted.files, smp=wanted.processors, devices=wanted.devices, kernel=wanted.kernel)

    try:
        result = attempt()
        if result.ended:
            # A machine that emulates a machine that runs machines, at a tenth of the speed, perhaps on a busy host.
            last = "\n".join(result.output.splitlines()[-60:])
            warnings.warn(f"THE LAB DID NOT FINISH ({result.ended}) and is tried once more:\n{last}", stacklevel=1)
            result = attempt()
    except (LabUnavailable, ArchiveUnreachable) as reason:
        warnings.warn(f"THE LAB DID NOT RUN: {reason}", stacklevel=1)
        pytest.skip(f"THE LAB DID NOT RUN: {reason}")
    with capsys.disabled():
        print(f"\n{result.summary()}")
    problems = result.problems()
    console = result.output.splitlines()
    for check in CHECKS.get(batch, ()):
        if not problems: check(result.left)
    assert not problems, "\n".join([*problems, "", f"the last of the console's {len(console)} lines:", *console[-60:]])
