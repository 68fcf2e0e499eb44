"""A lab run counts as a pass only if every named file ran, nothing else did, and nothing failed or was skipped."""

import pytest

from tests.lab.lab import LabResult, read_report

CASE = '<testcase classname="tests.hv.{0}" name="test_it" file="tests/hv/{0}.py" line="1" time="0.1">{1}</testcase>'
NAMED = ("tests/hv/test_gate.py", "tests/hv/test_vcpu.py")


def verdict(*cases: tuple[str, str]) -> LabResult:
    result = LabResult(NAMED)
    text = "".join(CASE.format(name, inside) for name, inside in cases)
    assert read_report(f"<testsuites><testsuite>{text}</testsuite></testsuites>".encode(), result)
    return result


def test_all_named_files_passed() -> None:
    result = verdict(("test_gate", ""), ("test_vcpu", ""), ("test_vcpu", ""))
    assert result.problems() == []
    assert result.passed == 3
    assert "2 files, 3 tests (tests/hv/test_gate.py 1, tests/hv/test_vcpu.py 2)" in result.summary()


@pytest.mark.parametrize(
    ("cases", "problem"),
    [
        ([("test_gate", "")], "no test of tests/hv/test_vcpu.py ran"),
        ([("test_gate", ""), ("test_vcpu", ""), ("test_x", "")], "tests/hv/test_x.py ran and was not asked for"),
        ([("test_gate", ""), ("test_vcpu", ""), ("test_vcpu", "<skipped/>")], "1 tests were skipped"),
        ([("test_gate", ""), ("test_vcpu", "<failure/>")], "1 tests failed"),
        ([("test_gate", "<error/>"), ("test_vcpu", "")], "1 tests failed"),
    ],
)
def test_anything_else_is_a_problem(cases: list[tuple[str, str]], problem: str) -> None:
    assert verdict(*cases).problems() == [problem]


def test_a_file_whose_tests_are_all_skipped_did_not_run() -> None:
    result = verdict(("test_gate", ""), ("test_vcpu", "<skipped/>"))
    assert result.problems() == ["1 tests were skipped", "no test of tests/hv/test_vcpu.py ran"]


@pytest.mark.parametrize("report", [b"", b"<testsuites><testsuite>"])
def test_a_torn_report_is_not_a_report(report: bytes) -> None:
    assert not read_report(report, LabResult(NAMED))


def test_a_run_without_results_is_a_problem() -> None:
    assert LabResult(NAMED, ended="no results arrived").problems()[0] == "the lab did not finish: no results arrived"
