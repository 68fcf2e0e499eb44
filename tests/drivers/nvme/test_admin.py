"""Admin commands: identify, features, log pages, events, abort (NVM Express 1.4, chapter 5)."""

from __future__ import annotations

import struct

import pytest

from drivers.model.faults import Faults

from .conftest import SIZE, MakeHost
from .host import PAGE, Host


def identify(host: Host, what: int, nsid: int = 0) -> bytes:
    page = host.page()
    assert host.run(host.admin, 0x06, nsid=nsid, prp1=page, dw10=what).status == 0
    return host.load(page, PAGE)


def test_identify_controller(host: Host) -> None:
    page = identify(host, 1)
    assert page[24:64].decode().strip() == "aerostat NVMe model"
    assert page[4:24].decode().strip() == "AERO0001"
    assert page[77] == 7
    assert struct.unpack_from("<I", page, 80)[0] == 0x10400
    assert page[512] == 0x66
    assert page[513] == 0x44
    assert struct.unpack_from("<I", page, 516)[0] == 1
    assert struct.unpack_from("<H", page, 256)[0] >> 8 & 1  # doorbell buffers
    assert struct.unpack_from("<H", page, 520)[0] & 0b1100 == 0b1100  # DSM, write zeroes
    assert page[525] & 1  # a volatile write cache
    assert struct.unpack_from("<I", page, 536)[0] == 0  # no SGLs
    assert page[768:].startswith(b"nqn.")


def test_identify_namespace(make_host: MakeHost) -> None:
    for block in (512, 4096):
        host = make_host(block=block)
        host.enable()
        page = identify(host, 0, 1)
        assert struct.unpack_from("<QQQ", page, 0) == (SIZE // block,) * 3
        assert page[25:27] == b"\0\0"
        assert page[128 + 2] == block.bit_length() - 1


def test_identify_lists(host: Host) -> None:
    assert struct.unpack_from("<II", identify(host, 2, 0)) == (1, 0)
    assert struct.unpack_from("<I", identify(host, 2, 1)) == (0,)
    assert struct.unpack_from("<BB", identify(host, 3, 1)) == (2, 16)


def test_identify_what_is_not_there(host: Host) -> None:
    page = host.page()
    for nsid in (0, 2, 0xFFFFFFFF):
        assert host.run(host.admin, 0x06, nsid=nsid, prp1=page, dw10=0).status == 0x0B
    assert host.run(host.admin, 0x06, nsid=0xFFFFFFFF, prp1=page, dw10=2).status == 0x0B
    assert host.run(host.admin, 0x06, prp1=page, dw10=0x7F).status == 0x02
    assert host.load(page, PAGE) == bytes(PAGE)


def test_identify_crosses_pages_by_prp2(host: Host) -> None:
    at, beyond = host.page(), host.page(2)
    assert host.run(host.admin, 0x06, prp1=at + 0x800, prp2=beyond + PAGE, dw10=1).status == 0
    whole = host.load(at + 0x800, 0x800) + host.load(beyond + PAGE, 0x800)
    assert whole == identify(host, 1)
    assert host.load(beyond, PAGE) == bytes(PAGE)
    assert host.run(host.admin, 0x06, prp1=at + 2, dw10=1).status == 0x13
    assert host.run(host.admin, 0x06, prp1=at + 0x800, prp2=beyond + 8, dw10=1).status == 0x13


def test_identify_into_memory_that_the_device_does_not_reach(host: Host) -> None:
    assert host.run(host.admin, 0x06, prp1=0x1000, dw10=1).status == 0x04


def test_commands_that_are_not_known_and_flags_that_are_not_supported(host: Host) -> None:
    for opcode in (0x03, 0x10, 0x18, 0x80, 0xC0, 0xFF):
        done = host.run(host.admin, opcode)
        assert (done.status, done.dnr) == (0x01, True)
    for flags in (0x40, 0x80, 0x01, 0x02):
        assert host.run(host.admin, 0x06, prp1=host.page(), dw10=1, flags=flags).status == 0x02


def test_number_of_queues(host: Host) -> None:
    assert host.run(host.admin, 0x09, dw10=7, dw11=3 | 5 << 16).result == 3 | 5 << 16
    assert host.run(host.admin, 0x09, dw10=7, dw11=999 | 999 << 16).result == 15 | 15 << 16
    assert host.run(host.admin, 0x0A, dw10=7).result == 15 | 15 << 16
    assert host.run(host.admin, 0x09, dw10=7, dw11=0xFFFF).status == 0x02
    host.queue(1)
    assert host.run(host.admin, 0x09, dw10=7, dw11=3).status == 0x0C  # too late


def test_features_are_kept_until_reset(host: Host) -> None:
    assert host.run(host.admin, 0x0A, dw10=6).result == 1
    assert host.run(host.admin, 0x09, dw10=6, dw11=0).status == 0
    assert host.run(host.admin, 0x0A, dw10=6).result == 0
    assert host.run(host.admin, 0x0A, dw10=6 | 1 << 8).result == 1  # the default
    assert host.run(host.admin, 0x0A, dw10=0x66).status == 0x02
    assert host.run(host.admin, 0x09, dw10=0x66).status == 0x02
    assert host.run(host.admin, 0x09, dw10=6 | 1 << 31).status == 0x10D
    host.bar.write32(0x14, 0)
    host.enable()
    assert host.run(host.admin, 0x0A, dw10=6).result == 1


def log_page(host: Host, page: int, length: int, *, offset: int = 0, keep: bool = False) -> bytes:
    at = host.page(2)
    number = length // 4 - 1
    done = host.run(
        host.admin, 0x02, nsid=0xFFFFFFFF, prp1=at, prp2=at + PAGE, dw10=page | keep << 15 | number << 16, dw12=offset
    )
    assert done.status == 0
    return host.load(at, length)


def test_the_error_log_tells_of_failures_latest_first(host: Host) -> None:
    queue = host.queue(1)
    first = host.read(queue, 1 << 40, 1, host.page())
    second = host.run(queue, 2, nsid=9, prp1=host.page(), dw10=5)
    assert (first.status, second.status) == (0x80, 0x0B)
    log = log_page(host, 1, 192)
    counts, queues, cids, statuses = zip(*(struct.unpack_from("<QHHH", log, 64 * i) for i in range(2)), strict=True)
    assert counts == (2, 1)
    assert queues == (1, 1)
    assert cids == (second.cid, first.cid)
    assert [status >> 1 & 0x7FF for status in statuses] == [0x0B, 0x80]
    assert struct.unpack_from("<Q", log, 64 + 16)[0] == 1 << 40
    assert log[128:] == bytes(64)
    assert log_page(host, 1, 64, offset=64) == log[64:128]


def test_other_log_pages(host: Host) -> None:
    queue = host.queue(1)
    for _ in range(3): host.read(queue, 0, 8, host.page())
    smart = log_page(host, 2, 512)
    assert int.from_bytes(smart[64:80], "little") == 3  # host read commands
    assert int.from_bytes(smart[32:48], "little") == 1  # thousands of 512 bytes, rounded up
    assert 200 < int.from_bytes(smart[1:3], "little") < 400  # kelvins
    assert log_page(host, 3, 512)[0] == 1
    effects = log_page(host, 5, 4096)
    assert struct.unpack_from("<I", effects, 4 * 0x06)[0] & 1
    assert struct.unpack_from("<I", effects, 1024 + 4 * 1)[0] & 3 == 3  # write changes blocks
    assert struct.unpack_from("<I", effects, 1024 + 4 * 0x99)[0] == 0
    at = host.page()
    assert host.run(host.admin, 0x02, prp1=at, dw10=0x77 | 15 << 16).status == 0x109
    assert host.run(host.admin, 0x02, prp1=at, dw10=3 | 15 << 16, dw12=4096).status == 0x02


def test_events_are_told_once_until_their_log_page_is_read(host: Host) -> None:
    admin = host.admin
    requests = [admin.put(0x0C) for _ in range(2)]
    admin.ring()
    host.model.poll()
    assert admin.take() == []
    host.bar.write32(0x1000 + 8 * 9, 1)
    host.model.poll()
    host.bar.write32(0x1000 + 8 * 9, 2)
    host.model.poll()
    (done,) = admin.take()
    assert (done.cid, done.result) == (requests[0], 1 << 16)
    log_page(host, 1, 64, keep=True)
    host.model.poll()
    assert admin.take() == []
    at = host.page()
    admin.put(0x02, nsid=0xFFFFFFFF, prp1=at, dw10=1 | 15 << 16)
    admin.ring()
    host.model.poll()
    assert {one.cid for one in admin.take()} >= {requests[1]}


def test_event_requests_are_limited(host: Host) -> None:
    limit = identify(host, 1)[259] + 1
    sent = [host.admin.put(0x0C) for _ in range(limit + 1)]
    host.admin.ring()
    host.model.poll()
    (done,) = host.admin.take()
    assert (done.cid, done.status) == (sent[-1], 0x105)


def test_an_event_request_can_be_aborted(host: Host) -> None:
    cid = host.admin.put(0x0C)
    host.admin.ring()
    host.model.poll()
    abort = host.admin.put(0x08, dw10=cid << 16)
    host.admin.ring()
    host.model.poll()
    done = {one.cid: one for one in host.admin.take()}
    assert done[cid].status == 0x07
    assert (done[abort].status, done[abort].result & 1) == (0, 0)


def test_abort_ends_a_command_that_hangs(make_host: MakeHost) -> None:
    host = make_host(faults=Faults(lost=1.0))
    host.enable()
    queue = host.queue(1)
    cid = queue.put(2, nsid=1, prp1=host.page())
    queue.ring()
    host.model.poll()
    assert queue.peek() is None
    done = host.run(host.admin, 0x08, dw10=1 | cid << 16)
    assert (done.status, done.result & 1) == (0, 0)
    (aborted,) = queue.take()
    assert (aborted.cid, aborted.status) == (cid, 0x07)
    assert host.run(host.admin, 0x08, dw10=1 | cid << 16).result & 1 == 1  # nothing to abort any more
    assert host.run(host.admin, 0x08, dw10=1 | 777 << 16).result & 1 == 1


def test_aborts_are_limited(host: Host) -> None:
    limit = identify(host, 1)[258] + 1
    host.queue(1)
    for _ in range(limit + 2): host.admin.put(0x08, dw10=1 | 5 << 16)
    host.admin.ring()
    host.model.poll()
    statuses = [done.status for done in host.admin.take()]
    assert statuses == [0] * limit + [0x103] * 2


@pytest.mark.parametrize("feature", [1, 2, 4, 5, 8, 9, 10, 11])
def test_mandatory_features_are_there(host: Host, feature: int) -> None:
    assert host.run(host.admin, 0x0A, dw10=feature).status == 0
