/* A ring of 64-bit items in memory that two processes share: one puts, the other takes, and neither calls the kernel.
 *
 * An item is written before the count that tells of it, and read before the count that gives its slot back: a release
 * and an acquire each, which on x86 cost nothing but that the compiler keeps the order.  The two counts are in cache
 * lines of their own, and each side remembers the other's as it last saw it, so that a line moves once a batch.  What the
 * other side says is not relied on: a count that cannot be is taken as an empty, or a full, ring. */
#ifndef RING_H
#define RING_H

#include <stdint.h>

#define RING_SLOTS 512u

struct ring {
    uint32_t written __attribute__((aligned(64))); /* items so far; only who puts writes it */
    uint32_t read __attribute__((aligned(64)));    /* only who takes */
    uint64_t slots[RING_SLOTS] __attribute__((aligned(64)));
};

/* One side of a ring, which is its own. */
struct ring_side {
    struct ring *ring;
    uint32_t mine, others;
};

/* How many of `count` items had room. */
static inline unsigned ring_put(struct ring_side *side, const uint64_t *items, unsigned count)
{
    uint32_t room = RING_SLOTS - (side->mine - side->others);

    if (room < count) {
        uint32_t others = __atomic_load_n(&side->ring->read, __ATOMIC_ACQUIRE);

        if (side->mine - others <= RING_SLOTS) {
            side->others = others;
            room = RING_SLOTS - (side->mine - others);
        }
        if (count > room)
            count = room;
    }
    for (unsigned i = 0; i < count; i++)
        side->ring->slots[(side->mine + i) % RING_SLOTS] = items[i];
    side->mine += count;
    __atomic_store_n(&side->ring->written, side->mine, __ATOMIC_RELEASE);
    return count;
}

/* How many items there were, at most `most`. */
static inline unsigned ring_take(struct ring_side *side, uint64_t *items, unsigned most)
{
    uint32_t there = side->others - side->mine;

    if (there == 0) {
        uint32_t others = __atomic_load_n(&side->ring->written, __ATOMIC_ACQUIRE);

        there = others - side->mine;
        if (there == 0 || there > RING_SLOTS)
            return 0;
        side->others = others;
    }
    if (there < most)
        most = there;
    for (unsigned i = 0; i < most; i++)
        items[i] = side->ring->slots[(side->mine + i) % RING_SLOTS];
    side->mine += most;
    __atomic_store_n(&side->ring->read, side->mine, __ATOMIC_RELEASE);
    return most;
}

#endif
