"""The ways to the host's IOMMU that this lab's kernel has: a VFIO container, and iommufd."""

import errno
import mmap
import os
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aerostat import DeviceUnavailable, open_device
from aerostat.devices import change_drivers, devices
from hv.iommu import Container, Iommufd
from hv.kvm import ffi, lib
from hv.pci import bind, function_at, unbind
from hv.vfio import VfioDevice
from tests.lab.hardware import SERIAL
from tests.lab.inside.by_hand import NVME, READ, WRITE, Nvme, host_address, queues
from tests.lab.inside.way import WAYS, open_files, takes_its_way
from tests.lab.outside import FIRST_OF_IOMMU

ONE, TWO = "0000:00:07.0", "0000:00:07.1"
IOVA = 0x2000_0000
PAGE = 4096
USER = 1000
BLOCKS = 7
"""Eight, as a command counts them: a page."""


@pytest.fixture(scope="module", autouse=True)
def bound() -> Iterator[None]:
    """All three disks are vfio-pci's meanwhile."""
    for address in (NVME, ONE, TWO): bind(address)
    yield
    for address in (NVME, ONE, TWO): unbind(address)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """The way by which devices are opened.  Where /dev/iommu is not, there is only a container."""
    hides = request.param == "container" and "iommufd" in WAYS
    if hides: os.rename("/dev/iommu", "/dev/hidden")
    yield str(request.param)
    if hides: os.rename("/dev/hidden", "/dev/iommu")


@pytest.fixture
def device(way: str) -> Iterator[VfioDevice]:
    made = VfioDevice(NVME)
    yield made
    made.close()


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    made = mmap.mmap(-1, 64 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # as a machine's
    yield made
    made.close()


def in_another_process(work: Callable[[], None]) -> None:
    """What it raises there is a failure here."""
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os.write(here, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(0)
    os.close(here)
    with open(there, "rb") as pipe: said = pipe.read().decode()
    os.waitpid(child, 0)
    assert not said, said


def refusal(work: Callable[[], object]) -> int:
    """The error that this raises, which names a request of the kernel."""
    with pytest.raises(OSError, match=r"^\[Errno \d+\] (VFIO_IOMMU|IOMMU_IOAS)_") as refused: work()
    assert refused.value.errno is not None
    return refused.value.errno


def test_it_is_the_way_that_is_taken(way: str, device: VfioDevice) -> None:
    assert takes_its_way(device, way)
    files = open_files()
    if way == "iommufd":
        (node,) = os.listdir(f"/sys/bus/pci/devices/{NVME}/vfio-dev")
        assert files == {"/dev/iommu", f"/dev/vfio/devices/{node}"}
    else:
        assert files == {"/dev/vfio/vfio", f"/dev/vfio/{function_at(NVME).group}"}
    device.close()
    assert open_files() == set()


def test_what_it_refuses(device: VfioDevice, memory: mmap.mmap) -> None:
    at = host_address(memory)
    device.map(IOVA, at, 4 * PAGE, True)
    for iova, address, length, why in (
        (0xFEE0_0000, at, PAGE, errno.EINVAL),  # where interrupts are
        (1 << 39, at, PAGE, errno.EINVAL),  # more bits than this IOMMU has
        (IOVA + 0x800, at, PAGE, errno.EINVAL),
        (IOVA, at, PAGE, errno.EEXIST),
        (IOVA + PAGE, at, PAGE, errno.EEXIST),
        (IOVA - PAGE, at, 2 * PAGE, errno.EEXIST),
        (2 * IOVA, PAGE, PAGE, errno.EFAULT),  # no memory is there
    ):
        assert refusal(lambda i=iova, a=address, n=length: device.map(i, a, n, True)) == why, hex(iova)
    # Nothing has come of these, and the device is as usable as before.
    device.unmap(IOVA, 4 * PAGE)
    device.map(IOVA - PAGE, at, 6 * PAGE, True)


def test_unmap(device: VfioDevice, memory: mmap.mmap) -> None:
    at = host_address(memory)
    device.unmap(IOVA, PAGE)
    device.unmap(IOVA, 1 << 30)
    for n in range(0, 8, 2): device.map(IOVA + n * PAGE, at + n * PAGE, PAGE, True)
    device.unmap(IOVA - PAGE, 64 * PAGE)
    device.map(IOVA, at, 8 * PAGE, True)
    for first, count in ((0, 1), (3, 2), (7, 1), (7, 9), (-3, 4)):
        assert refusal(lambda f=first, n=count: device.unmap(IOVA + f * PAGE, n * PAGE)) == errno.EINVAL
        assert refusal(lambda f=first: device.map(IOVA + max(f, 0) * PAGE, at, PAGE, True)) == errno.EEXIST
    device.unmap(IOVA, 8 * PAGE)
    for n in range(8): device.map(IOVA + n * PAGE, at + n * PAGE, PAGE, n % 2 == 0)
    device.unmap(IOVA, 8 * PAGE)


def test_memory_that_was_not_written_is_read_as_it_is_then(way: str, memory: mmap.mmap) -> None:
    """The host shows one page of zeros wherever memory was only read; a device is not to go on reading that."""
    with open_device(NVME) as nvme:
        _, queue = queues(nvme)
        back = nvme.dma(PAGE)
        assert memory[0] == 0
        nvme.device.map(IOVA, host_address(memory), PAGE, False)
        memory[:PAGE] = b"written" * 585 + b"x"
        assert queue.command(WRITE, IOVA, 1, FIRST_OF_IOMMU, 0, BLOCKS) == 0
        assert queue.command(READ, back.iova, 1, FIRST_OF_IOMMU, 0, BLOCKS) == 0
        assert bytes(back.view) == memory[:PAGE]


def test_memory_that_the_process_may_only_read(device: VfioDevice) -> None:
    only_read = lib.mmap(ffi.NULL, PAGE, lib.PROT_READ, lib.MAP_PRIVATE | lib.MAP_ANONYMOUS, -1, 0)
    address = int(ffi.cast("uintptr_t", only_read))
    assert refusal(lambda: device.map(IOVA, address, PAGE, True)) == errno.EFAULT


def test_two_devices_reach_their_own(way: str) -> None:
    with open_device(NVME) as first, open_device(ONE) as second:
        assert takes_its_way(first.device, way)
        assert takes_its_way(second.device, way)
        serials = []
        for disk in (first, second):
            admin = Nvme(disk)
            admin.enable()
            buffer = disk.dma(PAGE)
            assert admin.command(6, buffer.iova, 0, 1) == 0
            serials.append((buffer.iova, bytes(buffer[4:24]).decode().strip()))
        assert serials[0][0] == serials[1][0]
        assert [serial for _, serial in serials] == [SERIAL, "ONE"]
        # What one has, the other does not reach.
        private = first.dma(PAGE)
        private[:] = b"\xa5" * PAGE
        admin.command(6, private.iova, 0, 1)
        assert bytes(private.view) == b"\xa5" * PAGE


def test_who_is_in_the_way(way: str) -> None:
    """A container has a group; so has iommufd, whichever of its devices is used."""
    with open_device(ONE):
        for address in (ONE, TWO):
            for kind in (Container, Iommufd) if "iommufd" in WAYS and way == "iommufd" else (Container,):
                with pytest.raises(DeviceUnavailable) as refused: kind(function_at(address))
                one_of = kind is Iommufd and address == TWO
                assert (f"in one group with {ONE}, and one can be used" in str(refused.value)) is one_of
                assert one_of or f"{address} is in use: /dev/vfio/" in str(refused.value), str(refused.value)
    if "iommufd" not in WAYS or way == "iommufd": return
    held = Container(function_at(ONE))
    os.rename("/dev/hidden", "/dev/iommu")
    for address in (ONE, TWO):
        with pytest.raises(DeviceUnavailable, match=rf"{address} is in use: /dev/vfio/\d+ is open"):
            Iommufd(function_at(address))
    os.rename("/dev/iommu", "/dev/hidden")
    held.close()


def files_of(way: str) -> list[str]:
    """What a user is to be given who shall open the disk this way."""
    if way == "container": return [f"/dev/vfio/{function_at(NVME).group}"]
    (node,) = os.listdir(f"/sys/bus/pci/devices/{NVME}/vfio-dev")
    return ["/dev/iommu", f"/dev/vfio/devices/{node}"]


def become(user: int, pages: int) -> None:
    """This process is an ordinary user's, who may lock so many pages."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (pages * PAGE, pages * PAGE))
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


@pytest.mark.parametrize("user", [0, USER])
def test_how_much_may_be_mapped(way: str, user: int, memory: mmap.mmap) -> None:
    def work() -> None:
        become(user, 16)
        device, at = VfioDevice(NVME), host_address(memory)
        assert takes_its_way(device, way)
        for _ in range(2):
            for n in range(16): device.map(IOVA + n * PAGE, at + n * PAGE, PAGE, True)
            if user: assert refusal(lambda: device.map(2 * IOVA, at, PAGE, True)) == errno.ENOMEM
            else: device.map(2 * IOVA, at, PAGE, True)
            device.unmap(IOVA, 16 * PAGE)
            device.unmap(2 * IOVA, PAGE)
        device.close()

    for path in files_of(way): os.chown(path, user, user)
    in_another_process(work)
    for path in files_of(way): os.chown(path, 0, 0)


def test_what_a_user_may_not_open(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A container will do: its file is what has to be given; but for hosts that have none."""
    group = files_of("container")[0]

    def listed() -> str:
        devices(as_json=False)
        return next(line for line in capfd.readouterr().out.splitlines() if line.startswith(NVME))

    def work() -> None:
        become(USER, 16)
        assert listed().endswith(f"no permission: sudo chown $USER {group}")
        with pytest.raises(DeviceUnavailable, match=rf"no permission to open {group}; sudo chown \$USER {group}"):
            VfioDevice(NVME)

    def without_group() -> None:
        become(USER, 16)
        assert listed().endswith(f"no permission: sudo chown $USER {' '.join(files_of('iommufd'))}")
        with pytest.raises(DeviceUnavailable, match=r"no permission to open /dev/iommu; sudo chown \$USER /dev/iommu"):
            VfioDevice(NVME)

    in_another_process(work)
    if way == "iommufd":
        os.rename(group, group + "-hidden")
        in_another_process(without_group)
        os.rename(group + "-hidden", group)
    assert listed().endswith(f"ready: aerostat run --device {NVME}=NAME")
    change_drivers([NVME], to_vfio=True)
    said = f"{NVME}: driven by vfio-pci, group {function_at(NVME).group}: {group}"
    if way == "iommufd": said += f", by iommufd {' and '.join(files_of(way))}"
    assert capfd.readouterr().out == said + "\n"


def pinned() -> int:
    """Pages of memory that devices can reach, on this whole host."""
    Path("/proc/sys/vm/stat_refresh").write_text("1")  # what processors count for themselves is added
    counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return int(counts["nr_foll_pin_acquired"]) - int(counts["nr_foll_pin_released"])


def test_a_process_that_is_killed_in_the_middle(way: str) -> None:
    """Nothing of its memory is held any more when it is gone, and the device can be used again."""
    for _ in range(2):
        there, here = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with open_device(NVME) as nvme:
                    _, queue = queues(nvme)
                    buffer = nvme.dma(64 * PAGE)
                    os.write(here, b"x")
                    while queue.command(READ, buffer.iova, 1, 0, 0, BLOCKS) == 0: pass
            finally:
                os._exit(1)
        os.close(here)
        assert os.read(there, 1) == b"x"
        assert pinned() > 64
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        os.close(there)
        assert pinned() == 0
    with open_device(NVME) as nvme: Nvme(nvme).enable()
