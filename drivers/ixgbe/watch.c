/* Registers that a driver writes as plain memory: finds what changed, and tells whoever decides what it means. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "inside.h"

#define PAGE 4096u

void ixgbe_watch(struct ixgbe *e, uint32_t pages, const uint8_t *own)
{
    e->watched = pages;
    if (!e->seen) {
        e->seen = malloc(IXGBE_BAR);
        e->own = malloc(IXGBE_BAR / 4);
    }
    if (!e->seen || !e->own) {
        e->watched = 0;
        return;
    }
    memcpy(e->own, own, IXGBE_BAR / 4);
    memcpy(e->seen, e->registers, IXGBE_BAR);
}

void ixgbe_put(struct ixgbe *e, uint32_t offset, uint32_t value)
{
    put(e, offset, value);
}

void ixgbe_settle(struct ixgbe *e, uint32_t offset, uint32_t found, uint32_t value)
{
    if (e->seen)
        e->seen[offset / 4] = value;
    __atomic_compare_exchange_n((uint32_t *)(e->registers + offset), &found, value, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
}

static void tell(struct ixgbe *e, uint32_t offset, uint32_t value)
{
    uint32_t tail = atomic_load(&e->changes_tail);

    if (tail - atomic_load(&e->changes_head) == CHANGES)
        return; /* seen is as it was: found again by the next look */
    e->changes[tail % CHANGES][0] = offset;
    e->changes[tail % CHANGES][1] = e->seen[offset / 4];
    e->changes[tail % CHANGES][2] = value;
    e->seen[offset / 4] = value;
    pthread_mutex_lock(&e->change_lock);
    atomic_store(&e->changes_tail, tail + 1);
    pthread_cond_signal(&e->change_came);
    pthread_mutex_unlock(&e->change_lock);
}

/* A driver waits for CTRL.RST for 10 us (DPDK) at least: it is cleared at once, what else a reset does follows. */
static void look_at_control(struct ixgbe *e)
{
    uint32_t value = reg(e, CTRL);

    if (value == e->seen[CTRL / 4] || !(value & (CTRL_RESET | CTRL_LINK_RESET)) || e->own[CTRL / 4])
        return;
    tell(e, CTRL, value);
    if (value & CTRL_RESET)
        ixgbe_clear(e);
    put(e, CTRL, value & ~(CTRL_RESET | CTRL_LINK_RESET));
}

static unsigned look_at_page(struct ixgbe *e, unsigned page)
{
    const uint32_t *is = (const uint32_t *)(e->registers + page * PAGE), *was = e->seen + page * PAGE / 4;
    unsigned found = 0;

    if (memcmp(is, was, PAGE) == 0)
        return 0;
    for (unsigned i = 0; i < PAGE / 4; i++) {
        uint32_t value = __atomic_load_n(&is[i], __ATOMIC_ACQUIRE);

        if (value == was[i] || e->own[page * PAGE / 4 + i])
            continue;
        tell(e, page * PAGE + 4 * i, value);
        found++;
    }
    return found;
}

/* CTRL and one page: in turn, for a look at all of them takes microseconds. */
void ix_watch_some(struct ixgbe *e)
{
    if (e->watched & 1)
        look_at_control(e);
    for (unsigned i = 0; i < IXGBE_SCANNED; i++) {
        unsigned page = e->watch_next++ % IXGBE_SCANNED;

        if (e->watched >> page & 1) {
            look_at_page(e, page);
            return;
        }
    }
}

unsigned ixgbe_scan(struct ixgbe *e)
{
    unsigned found = 0;

    if (e->watched & 1)
        look_at_control(e);
    for (unsigned page = 0; page < IXGBE_SCANNED; page++)
        if (e->watched >> page & 1)
            found += look_at_page(e, page);
    return found;
}

bool ixgbe_changed(struct ixgbe *e, uint32_t *offset, uint32_t *before, uint32_t *value, uint64_t timeout)
{
    struct timespec until;
    uint32_t head = atomic_load(&e->changes_head);
    bool there;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(timeout % 1000000000);
    until.tv_sec += (time_t)(timeout / 1000000000) + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&e->change_lock);
    while (!(there = head != atomic_load(&e->changes_tail)))
        if (timeout == 0 || pthread_cond_timedwait(&e->change_came, &e->change_lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&e->change_lock);
    if (!there)
        return false;
    *offset = e->changes[head % CHANGES][0];
    *before = e->changes[head % CHANGES][1];
    *value = e->changes[head % CHANGES][2];
    atomic_store(&e->changes_head, head + 1);
    return true;
}
