"""The project's tests hold on the other kind of host too: exactly the named files run in the lab, none skipped."""

import os
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from hv.native.build import build
from tests.lab.files import BATCHES
from tests.lab.kernel import ArchiveUnreachable
from tests.lab.lab import LabResult, LabUnavailable, run
from tests.lab.outside import CHECKS

AT_ONCE = min(2, len(os.sched_getaffinity(0)))
"""Runs at a time: each emulates a processor on one of the host's, with 2 GiB of memory."""
LONGEST = "attacks"
"""The batch that the others run beside."""


def attempts(batch: str) -> list[LabResult]:
    """What came of a batch: of a second attempt as well if the first did not finish."""
    wanted = BATCHES[batch]
    results: list[LabResult] = []
    while not results or (results[-1].ended and len(results) < 2):
        results.append(run(wanted.files, smp=wanted.processors, devices=wanted.devices, kernel=wanted.kernel))
    return results


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[list[LabResult]]]]:
    """The batches that are asked for, all begun, some at a time."""
    asked = {item.callspec.params["batch"]: None for item in request.session.items
             if isinstance(item, pytest.Function) and item.function is test_named_files_pass_in_the_lab}  # fmt: skip
    build()  # here, not in each of them at once
    executor = ThreadPoolExecutor(AT_ONCE)
    try:
        yield {batch: executor.submit(attempts, batch) for batch in sorted(asked, key=lambda batch: batch != LONGEST)}
    finally:
        executor.shutdown(cancel_futures=True)


@pytest.mark.lab
@pytest.mark.parametrize("batch", BATCHES)
def test_named_files_pass_in_the_lab(
    batch: str, running: Mapping[str, Future[list[LabResult]]], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        *unfinished, result = running[batch].result()
    except (LabUnavailable, ArchiveUnreachable) as reason:
        warnings.warn(f"THE LAB DID NOT RUN: {reason}", stacklevel=1)
        pytest.skip(f"THE LAB DID NOT RUN: {reason}")
    for before in unfinished:
        # A machine that emulates a machine that runs machines, at a tenth of the speed, perhaps on a busy host.
        last = "\n".join(before.output.splitlines()[-60:])
        warnings.warn(f"THE LAB DID NOT FINISH ({before.ended}) and was tried once more:\n{last}", stacklevel=1)
    with capsys.disabled():
        print(f"\n{result.summary()}")
    problems = result.problems()
    console = result.output.splitlines()
    for check in CHECKS.get(batch, ()):
        if not problems: check(result.left)
    assert not problems, "\n".join([*problems, "", f"the last of the console's {len(console)} lines:", *console[-60:]])
