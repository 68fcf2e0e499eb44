"""What the host's KVM is found to do."""

from __future__ import annotations

import psutil
import pytest

import hv.probe
from hv.kvm import Kvm
from hv.probe import lstar_cpl, probe

pytestmark = pytest.mark.kvm


@pytest.fixture
def afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(hv.probe, "_lstar_cpl", None)
    monkeypatch.setattr(hv.probe, "_facts", None)


@pytest.mark.usefixtures("afresh")
def test_the_facts_agree_with_each_other(kvm: Kvm) -> None:
    facts = probe(kvm)
    assert facts.lstar_cpl in (0, 3)
    assert facts.lstar_cpl == lstar_cpl(kvm)
    assert facts.paging in ("nested", "shadow")
    assert facts.exit_cost_us > 0 or not facts.sync_regs
    if facts.paging == "shadow":
        assert not facts.host_writes_noticed


@pytest.mark.usefixtures("afresh")
def test_translations_are_dropped_on_this_host(kvm: Kvm) -> None:
    """Isolation rests on it."""
    facts = probe(kvm)
    assert facts.drop_works
    assert facts.release_works


@pytest.mark.usefixtures("afresh")
def test_it_is_asked_once(kvm: Kvm, monkeypatch: pytest.MonkeyPatch) -> None:
    first = probe(kvm)
    monkeypatch.setattr(hv.probe, "_Sample", None)
    assert probe(kvm) is first
    assert lstar_cpl(kvm) == first.lstar_cpl


@pytest.mark.usefixtures("afresh")
def test_a_probe_leaves_nothing_open(kvm: Kvm) -> None:
    before = psutil.Process().num_fds()
    probe(kvm)
    assert psutil.Process().num_fds() == before
