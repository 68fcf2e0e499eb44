"""The rule for tests that need KVM, for the whole tree: without a usable /dev/kvm they fail.

Only AEROSTAT_NO_KVM=1 turns that into skipping, and says so at the end: a run that tested no virtual machine must not
look like one that did.
"""

from __future__ import annotations

import functools
import os
import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts in the background with SIGINT ignored, and so would be all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@functools.cache
def _without_kvm() -> str:
    """Why KVM cannot be used here; empty if it can."""
    try:
        from hv.kvm import Kvm, KvmUnavailable
    except ImportError as error:
        return str(error)
    try:
        Kvm().close()
    except KvmUnavailable as error:
        return str(error)
    return ""


def _excused() -> bool:
    return os.environ.get("AEROSTAT_NO_KVM") == "1"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kvm") is None: return
    if _excused(): pytest.skip("needs KVM, and AEROSTAT_NO_KVM=1")
    reason = _without_kvm()
    if reason: pytest.fail(f"needs KVM: {reason}. AEROSTAT_NO_KVM=1 skips such tests", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    skipped = [reason for reason in skipped if "AEROSTAT_NO_KVM" in reason]
    if skipped:
        terminalreporter.write_line(
            f"AEROSTAT_NO_KVM=1: {len(skipped)} tests that need KVM did NOT run; no program was run in a machine",
            red=True, bold=True,
        )  # fmt: skip
