"""The ring of packets between two processes (``drivers/lib/ring.h``), compiled and driven by two threads; and each
state of it that the other side may see."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
from pathlib import Path

from tests.drivers.stores import states

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "ring.h"
#define COUNT 300000u
static struct ring ring;
static void *put(void *unused)
{
    struct ring_side side = {&ring, 0, 0};
    uint64_t items[64], next = 0;
    while (next < COUNT) {
        unsigned most = 1 + (unsigned)(next * 7 % 64), n = 0;
        for (; n < most && next + n < COUNT; n++)
            items[n] = (next + n) * 0x9e3779b97f4a7c15;
        next += ring_put(&side, items, n);
    }
    return unused;
}
int main(void)
{
    struct ring_side side = {&ring, 0, 0}, liar;
    uint64_t items[64], next = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, put, NULL);
    while (next < COUNT) {
        unsigned n = ring_take(&side, items, 1 + (unsigned)(next % 64));
        for (unsigned i = 0; i < n; i++, next++)
            if (items[i] != next * 0x9e3779b97f4a7c15)
                return 1;
    }
    pthread_join(thread, NULL);
    if (ring_take(&side, items, 64))
        return 2;
    /* What the other side says that cannot be is nothing. */
    ring.written = side.mine + RING_SLOTS + 1;
    if (ring_take(&side, items, 64))
        return 3;
    ring.written = side.mine - 1;
    if (ring_take(&side, items, 64))
        return 4;
    liar = (struct ring_side){&ring, 1000, 488};
    ring.read = 1001;
    if (ring_put(&liar, items, 1))
        return 5;
    ring.read = 100;
    if (ring_put(&liar, items, 1))
        return 6;
    puts("right");
    return 0;
}
"""


def test_items_come_in_order_and_lies_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "ring.c").write_text(PROGRAM)
    options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread", f"-I{ROOT}/drivers/lib"]
    subprocess.run(["gcc", *options, "ring.c", "-o", "ring"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "ring"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "right\n")


def test_an_item_is_there_when_the_count_says_so(tmp_path: Path) -> None:
    (tmp_path / "put.c").write_text(
        '#include "ring.h"\n'
        "unsigned put(struct ring *ring, const uint64_t *items, unsigned count);\n"
        "unsigned put(struct ring *ring, const uint64_t *items, unsigned count)\n"
        "{ struct ring_side side = {ring, 0, 0}; return ring_put(&side, items, count); }\n"
    )
    options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", f"-I{ROOT}/drivers/lib"]
    subprocess.run(["gcc", *options, "put.c", "-o", "put.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "put.so"))
    memory = mmap.mmap(-1, 2 * 4096)
    ring = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    items, slots = (ctypes.c_uint64 * 20)(*range(1, 21)), ring + 128
    counts: list[int] = []
    for seen in states(lambda: library.put(ctypes.c_void_p(ring), items, 20), (ring, len(memory))):
        counts.append(int.from_bytes(seen(ring, 4), "little"))
        assert seen(slots, 8 * counts[-1]) == bytes(items)[: 8 * counts[-1]]
    assert set(counts) == {0, 20}
