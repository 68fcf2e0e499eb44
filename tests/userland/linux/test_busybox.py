"""Debian's busybox-static, unmodified: each applet must do what it does on the host.

A case runs in the machine and, on a copy of the same files, directly on the host; output, status and the files left
behind are compared.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from aerostat.machine import Machine

pytestmark = pytest.mark.kvm

BUSYBOX: Final = next((path for path in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(path)), "busybox")
ENVIRONMENT: Final = {"PATH": "/bin", "LANG": "C", "TZ": "UTC"}
WHEN: Final = 1_600_000_000

TEXT: Final = "".join(f"{n * 7919 % 1000:04d} line {n} of the text, word{n % 13}\n" for n in range(2000))
CASES: Final = """
echo hello world
echo -n -e 'a\\tb\\n'
cat text
cat text numbers -
cat -n numbers
cat missing
cat d
head -n 3 text
head -c 100 text
tail -n 5 text
tail -c 50 text
wc text numbers
wc -l text
sort text
sort -r -n numbers
sort -u -k 2 text
sort -t , -k 2,2n table
uniq -c numbers
cut -d ' ' -f 2-3 text
cut -c 1-10 text
tr a-z A-Z
tr -d '\\n'
awk '{ s += $1; n[$5]++ } END { print s; for (w in n) c++; print c }' text
awk -F, '{ printf "%s-%05.2f\\n", $1, $2 * 1.5 }' table
awk 'BEGIN { for (i = 0; i < 1000; i++) x[i] = i * i; print x[999] }'
sed -n '10,20p' text
sed 's/line \\([0-9]*\\)/<\\1>/g;/99/d' text
sed -i 's/one/ONE/' table
grep -n word7 text
grep -c -v word text
grep -r -i WORD12 .
grep nothing text
egrep '^0[0-9]+ line (1|2)' text
sha256sum text random numbers
sha1sum random
sha512sum random
sha3sum random
md5sum text random
cksum random
crc32 random
base64 random
base64 -d encoded
xxd random
hexdump -C text
od -A x -t x1z random
od -c numbers
gzip -k text
gzip -c text
gunzip -k compressed.gz
gunzip -c compressed.gz
gunzip missing.gz
bzip2 -k text
xz -d -c missing
tar cf out.tar d text
tar cvf out.tar d numbers
tar tf archive.tar
tar xf archive.tar
tar xvf archive.tar unpacked/x
tar xOf archive.tar unpacked/x
dd if=random of=copy bs=1000 count=7 skip=2 seek=1 status=none
dd if=random of=copy bs=64k conv=notrunc,fsync status=none
dd if=/dev/zero of=zeros bs=4k count=100 status=none
dd if=/dev/zero bs=10 count=2 status=none
find .
find . -name '*.txt' -type f
find . -size +10k
find d -depth -delete
ls
ls d
ls -a d
ls -1 -R .
ls missing
ls -F
stat -c '%n %s %F %a %Y' text d link
cp text copy
cp -r d copied
cp -a d copied
cp -p text copy
cp missing copy
cp text numbers d
mv text moved
mv text d
mv -f numbers text
rm text
rm -r d
rm -rf d missing
rm missing
mkdir made
mkdir -p a/b/c
mkdir -m 700 private
mkdir d
rmdir d
rmdir d/empty
touch new
touch -c missing
touch -d '2001-02-03 04:05:06' text
ln text hard
ln -s text soft
ln -sf missing link
ln text d
readlink link
readlink -f link
readlink text
realpath d/../text
chmod 600 text
chmod -R a-w d
chmod u+x text
chmod +x missing
truncate -s 100 text
truncate -s 100000 numbers
fallocate -l 5000 allocated
env
env -i
env A=1
seq 1 10
seq 10 -2 1
seq -w 8 11
expr 6 '*' 7
expr length hello
expr abc : 'a\\(.\\)c'
printf '%s %d %x %o %5.2f|%-5s|\\n' a 42 255 8 3.14159 b
test -f text
test -d text
test -L link
test text -nt d
[ 3 -lt 5 ]
cmp text text
cmp text numbers
cmp -l numbers table
diff text text
diff text numbers
diff -u table table2
diff -r d e
patch -i changes table
du -a -b d
true
false
basename /a/b/c.txt .txt
dirname /a/b/c
uname -s -m
id -u
pwd
tee copy
tee -a numbers
sleep 0
date -u -d @1000000000
date -u -d '2020-01-01 00:00:00' +%s
cal 2 2024
factor 1234567890
bc
dc
tac numbers
rev numbers
nl numbers
fold -w 20 text
expand table
paste -d , numbers table
comm numbers numbers2
split -l 500 text part
shuf -e a
strings random
unix2dos table
uuencode text
uudecode encoded.uu
cpio -o
cpio -t
unzip -l missing
ed text
vi --help
printenv PATH
sum random
shred -n 1 -z -u numbers
sync
usleep 100
timeout --help
which busybox
groups
whoami
ash -c 'echo in the shell; x=5; echo $((x * 3)); test -f text && echo yes; printf %x 255'
ash -c 'for i in 1 2 3; do echo $i; done > made; exit 7'
ash -c 'read a b; echo $b $a; case $a in 0*) echo zero;; esac; printf "%03d\\n" 7'
ash -c 'cd d; pwd; set -- *; echo $#'
""".strip().splitlines()  # fmt: skip

INPUT: Final = TEXT[:3000].encode()


def fill(place: Path) -> None:
    """The files that every case begins with."""
    place.mkdir()
    (place / "text").write_text(TEXT)
    (place / "numbers").write_text("".join(f"{n * n % 97}\n" for n in range(300)))
    (place / "numbers2").write_text("".join(f"{n * 3 % 97}\n" for n in range(50)))
    (place / "random").write_bytes(b"".join((n * 2654435761 % (1 << 32)).to_bytes(4, "little") for n in range(20_000)))
    (place / "table").write_text("one,3\ntwo\t,1\nthree,2\n")
    (place / "table2").write_text("one,3\ntwo\t,7\nfour,2\n")
    (place / "changes").write_text("--- table\n+++ table\n@@ -1,3 +1,3 @@\n one,3\n-two\t,1\n+two\t,7\n three,2\n")
    (place / "encoded").write_text("aGVsbG8gd29ybGQ=\n")
    (place / "encoded.uu").write_text("begin 644 decoded\n#0V%T\n`\nend\n")
    for directory in ("d", "d/empty", "e"):
        (place / directory).mkdir()
    (place / "d" / "a.txt").write_text("a word12\n")
    (place / "d" / "b").write_text("b" * 20_000)
    (place / "e" / "a.txt").write_text("another\n")
    os.symlink("text", place / "link")
    os.symlink("../text", place / "d" / "up")
    (place / "unpacked").mkdir()
    (place / "unpacked" / "x").write_text("unpacked\n" * 100)
    run_on_host(place, ["tar", "cf", "archive.tar", "unpacked"])
    shutil.rmtree(place / "unpacked")
    run_on_host(place, ["gzip", "-k", "text"])
    os.rename(place / "text.gz", place / "compressed.gz")
    for path in sorted(place.rglob("*"), reverse=True):
        os.utime(path, (WHEN, WHEN), follow_symlinks=False)
    os.utime(place, (WHEN, WHEN))


def run_on_host(place: Path, argv: list[str]) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [BUSYBOX, *argv], cwd=place, input=INPUT, capture_output=True, env=ENVIRONMENT, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def run_in_machine(machine: Machine, place: Path, argv: list[str]) -> tuple[int, bytes, bytes]:
    streams = [place.parent / name for name in ("stdin", "stdout", "stderr")]
    streams[0].write_bytes(INPUT)
    with streams[0].open("rb") as stdin, streams[1].open("wb") as stdout, streams[2].open("wb") as stderr:
        program = machine.spawn(
            BUSYBOX, ["busybox", *argv], ENVIRONMENT, cwd=str(place),
            stdin=stdin.fileno(), stdout=stdout.fileno(), stderr=stderr.fileno(),
        )  # fmt: skip
        status = program.wait(60)
        assert not program.personality.internal_errors
    return status, streams[1].read_bytes(), streams[2].read_bytes()


def tree(place: Path) -> dict[str, tuple[int, bytes]]:
    """Every file: its mode, and its content or target."""
    found = {}
    for path in place.rglob("*"):
        mode = path.lstat().st_mode
        content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(place))] = (mode, content)
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("busybox")


@pytest.fixture(scope="module")
def machine(base: Path) -> Iterator[Machine]:
    known = [path for path in ("/etc/passwd", "/etc/group", BUSYBOX) if os.path.exists(path)]
    with Machine("128M", allow_write=[base], allow_read=known) as made:
        yield made


@pytest.fixture(scope="module")
def original(base: Path) -> Path:
    fill(base / "original")
    return base / "original"


@pytest.mark.parametrize("command", CASES)
def test_applet(command: str, machine: Machine, base: Path, original: Path) -> None:
    argv = shlex.split(command)
    results = []
    for way in ("host", "machine"):
        place = base / "place"
        shutil.copytree(original, place, symlinks=True)
        os.utime(place, (WHEN, WHEN))
        done = run_on_host(place, argv) if way == "host" else run_in_machine(machine, place, argv)
        results.append((*done, tree(place)))
        shutil.rmtree(place)
    expected, got = results
    assert got == expected
