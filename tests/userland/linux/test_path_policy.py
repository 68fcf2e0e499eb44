"""What paths reach: attacks on the file policy, with openat2 and with the walk that replaces it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.userland.fake_machine import FakeMachine, open_descriptors
from tests.userland.linux.conftest import Program
from userland.linux.personality import LinuxPersonality
from userland.linux.policy import FilePolicy, PolicyError

ENOENT, EACCES, EBUSY, EEXIST, EXDEV, ENOTDIR, EISDIR, EROFS, ELOOP, ENAMETOOLONG, EPERM = (
    2, 13, 16, 17, 18, 20, 21, 30, 40, 36, 1,
)  # fmt: skip
O_RDWR, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW, O_PATH = 2, 0o100, 0o200, 0o200000, 0o400000, 0o10000000
AT_FDCWD = -100


@pytest.fixture(params=["openat2", "walk"], autouse=True)
def way(request: pytest.FixtureRequest, program: Program) -> Iterator[str]:
    program.personality._resolver = None
    resolver = program.personality.resolver
    resolver._use_openat2 = request.param == "openat2"
    before = open_descriptors()
    yield request.param
    program.process.exit(0)
    assert open_descriptors() <= before


def reads(program: Program, path: str | os.PathLike[str], size: int = 100) -> bytes | int:
    fd = program.open(path)
    if fd < 0:
        return fd
    data = program.read(fd, size)
    program("close", fd)
    return data


def test_dot_dot_does_not_leave(program: Program, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "w" / "d").mkdir()
    for path in ("../secret", "d/../../secret", "./../secret", "d/.././../secret"):
        assert program.open(path) == -ENOENT, path
        assert program.open(f"{tmp_path}/w/{path}") == -ENOENT, path
    assert program.open(f"{tmp_path}/w/../secret") == -ENOENT
    assert program.open("/../../../etc/passwd") == -ENOENT
    assert program.open("../../../../../../../../etc/passwd") == -ENOENT


def test_dot_dot_inside_works(program: Program, tmp_path: Path) -> None:
    (tmp_path / "w" / "d").mkdir()
    (tmp_path / "w" / "x").write_text("x")
    (tmp_path / "r" / "y").write_text("y")
    assert reads(program, "d/../x") == b"x"
    assert reads(program, "../r/y") == b"y"
    assert reads(program, tmp_path / "r" / ".." / "w" / "x") == b"x"


def test_links_that_leave_lead_nowhere(program: Program, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "s").write_text("secret")
    links = {
        "absolute": str(tmp_path / "secret"),
        "relative": "../secret",
        "far": "/etc/passwd",
        "deep": "d/../../secret",
        "root": "/",
        "proc": "/proc/self/root/etc/passwd",
        "procfd": "/proc/self/fd/../../../etc/passwd",
        "directory": "../secrets",
        "chain": "relative",
    }
    for where in ("w", "r"):
        for name, target in links.items():
            os.symlink(target, tmp_path / where / name)
        for name in links:
            for path in (name, name + "/", name + "/s", name + "/../secret", name + "/etc/passwd"):
                got = program.open(tmp_path / where / path)
                if got >= 0:
                    # The root as the program sees it: a directory that leads to the grants.
                    assert name == "root"
                    assert path in ("root", "root/")
                    program("close", got)
                    continue
                assert got in (-ENOENT, -ENOTDIR, -EACCES), path
            assert program("chmod", os.fsencode(tmp_path / where / name), 0o777) in (-ENOENT, -EACCES, -EROFS), name
            assert program("truncate", os.fsencode(tmp_path / where / name), 0) in (-ENOENT, -EACCES, -EROFS), name
            # Creating through the link, too.
            assert program.open(tmp_path / where / name / "new", O_RDWR | O_CREAT) in (-ENOENT, -ENOTDIR, -EROFS)
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (tmp_path / "secrets" / "new").exists()


def test_a_dangling_link_that_leaves_creates_nothing(program: Program, tmp_path: Path) -> None:
    for name, target in (("a", "../made"), ("b", str(tmp_path / "made")), ("c", "b")):
        os.symlink(target, tmp_path / "w" / name)
        assert program.open(name, O_RDWR | O_CREAT) in (-ENOENT, -EROFS), name
        assert program.open(name, O_RDWR | O_CREAT | O_EXCL) == -EEXIST
    assert not (tmp_path / "made").exists()


def test_a_dangling_link_inside_creates_its_target(program: Program, tmp_path: Path) -> None:
    os.symlink("target", tmp_path / "w" / "link")
    os.symlink(tmp_path / "w" / "other", tmp_path / "w" / "absolute")
    assert program.open("link", O_RDWR | O_CREAT) >= 0
    assert program.open("absolute", O_RDWR | O_CREAT) >= 0
    assert (tmp_path / "w" / "target").exists()
    assert (tmp_path / "w" / "other").exists()


def test_links_inside_and_between_grants_work(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_text("x")
    (tmp_path / "w" / "d").mkdir()
    os.symlink("../x", tmp_path / "r" / "broken")
    os.symlink("x", tmp_path / "r" / "relative")
    os.symlink(tmp_path / "r" / "x", tmp_path / "r" / "absolute")
    os.symlink(tmp_path / "r" / "absolute", tmp_path / "w" / "across")
    os.symlink("../../r/x", tmp_path / "w" / "d" / "up")
    assert reads(program, tmp_path / "r" / "relative") == b"x"
    assert reads(program, tmp_path / "r" / "absolute") == b"x"
    assert reads(program, "across") == b"x"
    assert reads(program, "d/up") == b"x"
    assert program.open(tmp_path / "r" / "broken") == -ENOENT
    # The link's place does not decide: what it leads to is read-only.
    assert program.open("across", O_RDWR) == -EROFS


def test_loops_end(program: Program, tmp_path: Path) -> None:
    os.symlink("b", tmp_path / "w" / "a")
    os.symlink("a", tmp_path / "w" / "b")
    os.symlink(tmp_path / "w" / "self", tmp_path / "w" / "self")
    os.symlink("deeper/deeper", tmp_path / "w" / "deeper")
    for name in ("a", "self", "deeper", "a/x", "self/x"):
        assert program.open(name) == -ELOOP, name
        assert program.open(name, O_RDWR | O_CREAT) == -ELOOP, name
    assert program.open("a", O_NOFOLLOW) == -ELOOP


def test_long_names(program: Program) -> None:
    assert program.open("x" * 256) == -ENAMETOOLONG
    assert program.open("x" * 256, O_RDWR | O_CREAT) == -ENAMETOOLONG
    assert program("mkdir", b"y" * 256, 0o777) == -ENAMETOOLONG
    assert program.open("./" * 2048 + "x") == -ENAMETOOLONG
    assert program.open("a/" * 500) == -ENOENT
    assert program("open", b"", 0) == -ENOENT


def test_trailing_slashes(program: Program, tmp_path: Path) -> None:
    (tmp_path / "w" / "f").write_text("f")
    (tmp_path / "w" / "d").mkdir()
    os.symlink("f", tmp_path / "w" / "lf")
    os.symlink("d", tmp_path / "w" / "ld")
    assert program.open("f/") == -ENOTDIR
    assert program.open("lf/") == -ENOTDIR
    assert program.open("d//") >= 0
    assert program.open("ld/") >= 0
    assert program.open("new/", O_RDWR | O_CREAT) == -EISDIR
    assert program("unlink", b"f/") == -ENOTDIR
    assert program("mkdir", b"made/", 0o777) == 0
    assert program("rmdir", b"made/") == 0
    assert program("rmdir", b"ld/") == -ENOTDIR
    assert program("rename", b"f/", b"g") == -ENOTDIR
    assert program("rename", b"d/", b"e/") == 0
    assert program("symlink", b"x", b"s/") == -ENOENT
    assert (tmp_path / "w" / "f").exists()


def test_what_is_above_the_grants_shows_only_the_way(program: Program, tmp_path: Path) -> None:
    (tmp_path / "hidden").write_text("hidden")
    fd = program.open(tmp_path, O_DIRECTORY)
    buffer = program.room(4096)
    count = program("getdents64", fd, buffer, 4096)
    listing = program.get(buffer, count)
    assert b"w\0" in listing
    assert b"hidden" not in listing
    assert program.open(tmp_path / "new", O_RDWR | O_CREAT) in (-ENOENT, -EROFS)
    assert program("mkdir", os.fsencode(tmp_path / "new"), 0o777) in (-ENOENT, -EROFS)
    assert program("mkdir", os.fsencode(tmp_path), 0o777) == -EEXIST
    assert program("rmdir", os.fsencode(tmp_path / "w")) == -EBUSY
    assert program("rename", os.fsencode(tmp_path / "w"), os.fsencode(tmp_path / "v")) in (-EBUSY, -ENOENT)
    assert program("access", os.fsencode(tmp_path), 4) == 0
    assert program("access", os.fsencode(tmp_path), 2) == -EROFS


def test_relative_to_a_directory_descriptor(program: Program, tmp_path: Path) -> None:
    (tmp_path / "w" / "d").mkdir()
    (tmp_path / "w" / "x").write_text("x")
    (tmp_path / "secret").write_text("secret")
    fd = program.open("d", O_DIRECTORY)
    assert program("openat", fd, b"../x", 0, 0) >= 0
    assert program("openat", fd, b"../../secret", 0, 0) == -ENOENT
    assert program("openat", fd, b"../../../../../../../etc/passwd", 0, 0) == -ENOENT
    file = program.open("x")
    assert program("openat", file, b"y", 0, 0) == -ENOTDIR
    assert program("openat", 999, b"y", 0, 0) == -9
    assert program("openat", 999, os.fsencode(tmp_path / "w" / "x"), 0, 0) >= 0
    handle = program.open("d", O_PATH)
    assert program("openat", handle, b"../x", 0, 0) >= 0
    assert program("read", handle, program.room(8), 8) == -9
    assert program("fchdir", handle) == 0
    assert reads(program, "../x") == b"x"


def test_a_directory_that_was_moved_out_leads_nowhere_further(program: Program, tmp_path: Path) -> None:
    (tmp_path / "w" / "d").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    assert program("chdir", b"d") == 0
    fd = program.open(".", O_DIRECTORY)
    os.rename(tmp_path / "w" / "d", tmp_path / "outside" / "d")
    for path in (b"../secret", b"../../outside/secret", b"x/../../secret"):
        assert program("open", path, 0) == -ENOENT
        assert program("openat", fd, path, 0, 0) == -ENOENT
    assert program("getcwd", program.room(100), 100) == -ENOENT


def test_hard_links_stay_in_their_grant(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_text("x")
    (tmp_path / "w" / "y").write_text("y")
    r, w = os.fsencode(tmp_path / "r"), os.fsencode(tmp_path / "w")
    assert program("link", r + b"/x", w + b"/x") == -EXDEV
    assert program("link", r + b"/x", r + b"/z") == -EROFS
    assert program("link", w + b"/y", r + b"/y") in (-EXDEV, -EROFS)
    assert program("link", w + b"/y", w + b"/z") == 0
    assert program("link", w + b"/y", w + b"/z") == -EEXIST
    assert os.path.samefile(tmp_path / "w" / "y", tmp_path / "w" / "z")


def test_renames_stay_in_their_grant(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_text("x")
    (tmp_path / "w" / "y").write_text("y")
    r, w = os.fsencode(tmp_path / "r"), os.fsencode(tmp_path / "w")
    assert program("rename", r + b"/x", w + b"/x") == -EXDEV
    assert program("rename", w + b"/y", r + b"/y") == -EXDEV
    assert program("rename", r + b"/x", r + b"/z") == -EROFS
    assert program("rename", w + b"/y", w + b"/../w/z") == 0
    assert program("renameat2", AT_FDCWD, w + b"/z", AT_FDCWD, w + b"/z", 1) == -EEXIST
    assert (tmp_path / "w" / "z").read_text() == "y"


def test_a_read_only_grant_cannot_be_changed(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_text("x")
    (tmp_path / "r" / "d").mkdir()
    r = os.fsencode(tmp_path / "r")
    status = os.stat(tmp_path / "r" / "x")
    fd = program.open(tmp_path / "r" / "x")
    directory = program.open(tmp_path / "r" / "d")
    for name, *arguments in (
        ("unlink", r + b"/x"), ("rmdir", r + b"/d"), ("mkdir", r + b"/n", 0o777), ("symlink", b"x", r + b"/l"),
        ("chmod", r + b"/x", 0o777), ("truncate", r + b"/x", 0), ("utimensat", AT_FDCWD, r + b"/x", 0, 0),
        ("chown", r + b"/x", status.st_uid, status.st_gid), ("fchmod", fd, 0o777), ("fchmod", directory, 0o777),
        ("utimensat", fd, 0, 0, 0), ("mknod", r + b"/n", 0o100644, 0), ("rename", r + b"/d", r + b"/e"),
        ("fchmodat2", fd, b"", 0o777, 0x1000), ("fchownat", fd, b"", 0, 0, 0x1000),
    ):  # fmt: skip
        assert program(name, *arguments) == -EROFS, name
    assert program("mkdir", r + b"/d", 0o777) == -EEXIST
    assert program("unlink", r + b"/missing") == -ENOENT
    assert program("ftruncate", fd, 0) == -22
    after = os.stat(tmp_path / "r" / "x")
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (status.st_mode, status.st_mtime_ns, status.st_size)
    assert sorted(os.listdir(tmp_path / "r")) == ["d", "x"]


def test_fifos_and_devices_in_a_grant_are_refused(program: Program, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w" / "fifo")
    for flags in (0, 1, 2, O_RDWR | O_CREAT, 0o4000):
        assert program.open("fifo", flags) == -EACCES
    assert program("stat", b"fifo", program.room(144)) == 0
    assert program("mknod", b"n", 0o020644, 0x103) == -EPERM
    assert program("mknod", b"n", 0o010644, 0) == -EPERM
    if os.getuid() == 0:
        try:
            os.mknod(tmp_path / "w" / "null", 0o020666, os.makedev(1, 3))
        except OSError:
            return
        assert program.open("null") == -EACCES


def test_no_set_user_id_on_host_files(program: Program, tmp_path: Path) -> None:
    fd = program.open("f", O_RDWR | O_CREAT, 0o6777)
    assert fd >= 0
    assert os.stat(tmp_path / "w" / "f").st_mode & 0o6000 == 0
    for name, *arguments in (("chmod", b"f", 0o6755), ("fchmod", fd, 0o4755), ("fchmodat", AT_FDCWD, b"f", 0o2755)):
        assert program(name, *arguments) == 0
        assert os.stat(tmp_path / "w" / "f").st_mode & 0o7777 == 0o755
    assert program("chown", b"f", 12345, 12345) == -EPERM


def test_modes_follow_the_programs_own_mask(program: Program, tmp_path: Path) -> None:
    assert program("umask", 0) == program.personality.umask
    program.open("f", O_RDWR | O_CREAT, 0o666)
    program("mkdir", b"d", 0o777)
    assert os.stat(tmp_path / "w" / "f").st_mode & 0o777 == 0o666
    assert os.stat(tmp_path / "w" / "d").st_mode & 0o777 == 0o777
    assert program("umask", 0o77) == 0
    program.open("g", O_RDWR | O_CREAT, 0o666)
    assert os.stat(tmp_path / "w" / "g").st_mode & 0o777 == 0o600


def test_a_rename_under_way_cannot_lead_out(program: Program, tmp_path: Path, way: str) -> None:
    """Another host program swaps a directory for a link to a secret place while the program looks for the secret."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "s").write_text("secret")
    (tmp_path / "w" / "d").mkdir()
    (tmp_path / "w" / "d" / "s").write_text("public")
    os.symlink("../outside", tmp_path / "w" / "link")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(tmp_path / "w" / "d", tmp_path / "w" / "kept")
            os.rename(tmp_path / "w" / "link", tmp_path / "w" / "d")
            os.rename(tmp_path / "w" / "d", tmp_path / "w" / "link")
            os.rename(tmp_path / "w" / "kept", tmp_path / "w" / "d")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(400):
            for path in ("d/s", "d/../d/s"):
                assert reads(program, path) in (b"public", -ENOENT)
            program("mkdir", b"d/made", 0o777)
            program.open("d/created", O_RDWR | O_CREAT)
            for fd in range(3, 10):
                program("close", fd)
    finally:
        stop.set()
        swapper.join()
    assert os.listdir(tmp_path / "outside") == ["s"]


def test_proc_shows_the_program_not_the_hypervisor(program: Program) -> None:
    buffer = program.room(200)
    count = program("readlink", b"/proc/self/exe", buffer, 200)
    assert program.get(buffer, count) == b"/bin/program"
    assert b"[stack]" in reads(program, "/proc/self/maps", 4000)  # type: ignore[operator]
    for path in ("/proc/self/mem", "/proc/self/environ", "/proc/1/mem", "/proc/self/root", "/proc/self/cwd"):
        assert program.open(path) == -ENOENT, path
    assert program.open("/proc/self/maps", O_RDWR) == -EACCES


def test_descriptors_by_path(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_text("content")
    fd = program.open(tmp_path / "r" / "x")
    assert reads(program, f"/proc/self/fd/{fd}") == b"content"
    assert program.open("/proc/self/fd/77") == -9
    assert program.open(f"/dev/fd/{fd}/..") == -ENOTDIR
    buffer = program.room(100)
    count = program("readlink", f"/proc/self/fd/{fd}".encode(), buffer, 100)
    assert program.get(buffer, count) == os.fsencode(tmp_path / "r" / "x")


def test_granting_the_root_does_not_grant_procfs(tmp_path: Path) -> None:
    os.symlink("/proc", tmp_path / "p")
    with FilePolicy(allow_read=["/"]) as files:
        personality = LinuxPersonality(files=files, cwd=str(tmp_path))
        with FakeMachine(personality) as machine:
            program = Program(machine)
            for path in ("/proc/self/mem", "/proc/self/environ", "p/self/mem", "p/1/environ", "/proc/../proc/self/mem"):
                assert program.open(path) in (-ENOENT, -EACCES), path
            assert program.open(tmp_path) >= 0
            assert program.open("/usr/../usr/bin") >= 0


def test_nested_grants(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "x").write_text("x")
    (tmp_path / "a" / "b" / "y").write_text("y")
    os.symlink("b/y", tmp_path / "a" / "link")
    with (
        FilePolicy(allow_read=[tmp_path / "a"], allow_write=[tmp_path / "a" / "b"]) as files,
        FakeMachine(LinuxPersonality(files=files, cwd=str(tmp_path / "a"))) as machine,
    ):
        program = Program(machine)
        assert program.open("x", O_RDWR) == -EROFS
        assert program.open("b/y", O_RDWR) >= 0
        assert program.open("link", O_RDWR) >= 0
        assert program.open("b/../x", O_RDWR) == -EROFS
        assert program.open("b/c/../../x", O_RDWR) == -EROFS
        assert program("rename", b"b/y", b"y") == -EXDEV
        assert program("rmdir", b"b") == -EBUSY


def test_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("one")
    (tmp_path / "two").write_text("two")
    with (
        FilePolicy(allow_read=[tmp_path / "one"], allow_write=[tmp_path / "out"]) as files,
        FakeMachine(LinuxPersonality(files=files)) as machine,
    ):
        program = Program(machine)
        assert reads(program, tmp_path / "one") == b"one"
        assert program.open(tmp_path / "two") == -ENOENT
        assert program.open(tmp_path / "one", O_RDWR) == -EROFS
        assert program.open(tmp_path / "one" / ".." / "two") in (-ENOENT, -ENOTDIR)
        fd = program.open(tmp_path / "out", O_RDWR | O_CREAT)
        assert program("write", fd, b"made", 4) == 4
        assert program("unlink", os.fsencode(tmp_path / "out")) == -EBUSY
    assert (tmp_path / "out").read_text() == "made"
    os.unlink(tmp_path / "one")
    os.symlink("two", tmp_path / "one")


def test_a_granted_file_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("one")
    (tmp_path / "secret").write_text("secret")
    with FilePolicy(allow_write=[tmp_path / "one"]) as files, FakeMachine(LinuxPersonality(files=files)) as machine:
        program = Program(machine)
        os.unlink(tmp_path / "one")
        os.symlink("secret", tmp_path / "one")
        assert program.open(tmp_path / "one") == -ELOOP
        assert program.open(tmp_path / "one", O_RDWR | O_CREAT) == -ELOOP


def test_a_grant_that_was_renamed_stays_the_one_that_was_granted(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_text("granted")
    os.rename(tmp_path / "r", tmp_path / "moved")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "x").write_text("another")
    assert reads(program, tmp_path / "r" / "x") == b"granted"


def test_what_cannot_be_granted(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no such file"):
        FilePolicy(allow_read=[tmp_path / "missing"])
    with pytest.raises(PolicyError, match="No such file"):
        FilePolicy(allow_write=[tmp_path / "missing" / "file"])
    with pytest.raises(PolicyError, match="procfs"):
        FilePolicy(allow_read=["/proc"])
    with pytest.raises(PolicyError, match="procfs"):
        FilePolicy(allow_read=["/proc/self"])
    with pytest.raises(PolicyError, match="procfs"):
        FilePolicy(allow_write=["/proc/self/mem"])
    with pytest.raises(PolicyError, match="neither a directory"):
        FilePolicy(allow_read=["/dev/null"])
