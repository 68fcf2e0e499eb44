"""The project's tests hold on the other kind of host too: exactly the named files run in the lab, none skipped."""

import warnings

import pytest

from tests.lab.files import BATCHES
from tests.lab.lab import LabUnavailable, run


@pytest.mark.lab
@pytest.mark.parametrize("batch", BATCHES)
def test_named_files_pass_in_the_lab(batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        result = run(BATCHES[batch].files, smp=BATCHES[batch].processors)
    except LabUnavailable as reason:
        warnings.warn(f"THE LAB DID NOT RUN: {reason}", stacklevel=1)
        pytest.skip(f"THE LAB DID NOT RUN: {reason}")
    with capsys.disabled():
        print(f"\n{result.summary()}")
    problems = result.problems()
    console = result.output.splitlines()
    assert not problems, "\n".join([*problems, "", f"the last of the console's {len(console)} lines:", *console[-60:]])
