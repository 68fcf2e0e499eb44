"""The project's tests hold on the other kind of host too: exactly the named files run in the lab, none skipped."""

import warnings

import pytest

from tests.lab.files import BATCHES
from tests.lab.lab import LabResult, LabUnavailable, run


@pytest.mark.lab
@pytest.mark.parametrize("batch", BATCHES)
def test_named_files_pass_in_the_lab(batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    def attempt() -> LabResult:
        return run(BATCHES[batch].files, smp=BATCHES[batch].processors, devices=BATCHES[batch].devices)

    try:
        result = attempt()
        if result.ended:
            # A machine that emulates a machine that runs machines, at a tenth of the speed, perhaps on a busy host.
            last = "\n".join(result.output.splitlines()[-60:])
            warnings.warn(f"THE LAB DID NOT FINISH ({result.ended}) and is tried once more:\n{last}", stacklevel=1)
            result = attempt()
    except LabUnavailable as reason:
        warnings.warn(f"THE LAB DID NOT RUN: {reason}", stacklevel=1)
        pytest.skip(f"THE LAB DID NOT RUN: {reason}")
    with capsys.disabled():
        print(f"\n{result.summary()}")
    problems = result.problems()
    console = result.output.splitlines()
    if batch == "devices":
        # The host's own look at what the tests inside did with the disk (inside/test_vfio.py).
        assert result.left.disk[8 * 512 : 16 * 512] == bytes(n * 7 & 255 for n in range(4096))
        assert b"SECRET" not in result.left.disk
    assert not problems, "\n".join([*problems, "", f"the last of the console's {len(console)} lines:", *console[-60:]])
