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
    if (ix_of_a_ring(offset)) { /* a driver that sees ENABLE relies on the ring */
        uint32_t now = ixgbe_ring_write(e, offset, e->seen[offset / 4], value), other = ix_other_split(offset);

        ixgbe_settle(e, offset, value, now);
        if (other)
            put(e, other, now);
        return;
    }
    if (ix_is_serial(offset)) {
        ixgbe_settle(e, offset, value, ixgbe_serial_write(e, offset, e->seen[offset / 4], value));
        return;
    }
    pthread_mutex_lock(&e->change_lock);
    /* Where there is no room, seen stays as it was, and the next look finds the change again. */
    if (e->changes_tail - e->changes_head < CHANGES) {
        uint32_t *change = e->changes[e->changes_tail++ % CHANGES];

        change[0] = offset;
        change[1] = e->seen[offset / 4];
        change[2] = value;
        e->seen[offset / 4] = value;
        pthread_cond_signal(&e->change_came);
    }
    pthread_mutex_unlock(&e->change_lock);
}

/* What was written before a reset means nothing after it. */
void ix_forget_changes(struct ixgbe *e)
{
    pthread_mutex_lock(&e->change_lock);
    e->changes_head = e->changes_tail;
    pthread_mutex_unlock(&e->change_lock);
}

/* A driver waits for CTRL.RST for 10 us (DPDK) at least. */
static void look_at_control(struct ixgbe *e)
{
    uint32_t value = reg(e, CTRL), status = reg(e, STATUS), quiet = value & CTRL_GIO_DISABLE && !ixgbe_busy(e);

    if (quiet == (status & STATUS_GIO_ENABLED) / STATUS_GIO_ENABLED)
        put(e, STATUS, status ^ STATUS_GIO_ENABLED);
    if (value == e->seen[CTRL / 4] || !(value & (CTRL_RESET | CTRL_LINK_RESET)) || e->own[CTRL / 4])
        return;
    if (!(value & CTRL_GIO_DISABLE) && !(e->seen[CTRL / 4] & CTRL_GIO_DISABLE) && ixgbe_busy(e))
        ixgbe_error(e, IXGBE_RESET_BUSY, 0, value);
    ixgbe_reset(e);
}

static void look_at(struct ixgbe *e, uint32_t offset)
{
    uint32_t value = reg(e, offset);

    if (e->watched >> offset / PAGE & 1 && value != e->seen[offset / 4])
        tell(e, offset, value);
}

/* SRRCTL at either place, which was written before the queue was enabled, though its page may be looked at later. */
void ix_look_at_split(struct ixgbe *e, unsigned queue)
{
    uint32_t at = queue < 64 ? 0x1014 + 0x40 * queue : 0xd014 + 0x40 * (queue - 64);

    look_at(e, at);
    if (ix_other_split(at))
        look_at(e, ix_other_split(at));
}

static unsigned look_at_page(struct ixgbe *e, unsigned page)
{
    const uint32_t *is = (const uint32_t *)(e->registers + page * PAGE), *was = e->seen + page * PAGE / 4;
    unsigned found = 0;

    if (memcmp(is, was, PAGE) == 0)
        return 0;
    if (page == 0) /* before EIMS: what was masked and unmasked between two looks, is not masked */
        for (unsigned i = 0; i < 3; i++)
            look_at(e, (const uint32_t[]){EIMC, EIMC_EX, EIMC_EX + 4}[i]);
    for (unsigned i = 0; i < PAGE / 4; i++) {
        uint32_t value = __atomic_load_n(&is[i], __ATOMIC_ACQUIRE);

        if (value == was[i] || e->own[page * PAGE / 4 + i])
            continue;
        tell(e, page * PAGE + 4 * i, value);
        found++;
    }
    return found;
}

/* CTRL, pins and one page: in turn, for a look at all of them takes microseconds, and a driver that clocks a bus by hand
 * gives each edge one or two. */
void ix_watch_some(struct ixgbe *e)
{
    if (e->watched & 1)
        look_at_control(e);
    look_at(e, I2CCTL);
    look_at(e, EEC);
    for (unsigned i = 0; i < IXGBE_SCANNED; i++) {
        unsigned page = e->watch_next++ % IXGBE_SCANNED;

        if (e->watched >> page & 1) {
            look_at_page(e, page);
            return;
        }
    }
}

/* Only rings, which may be done in the middle of a frame: a reset there would take away what is being worked on. */
void ix_look_at_rings(struct ixgbe *e)
{
    for (unsigned page = 1; page <= 13; page++)
        if (e->watched >> page & 1 && ix_of_a_ring(page * PAGE))
            look_at_page(e, page);
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
    bool there;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(timeout % 1000000000);
    until.tv_sec += (time_t)(timeout / 1000000000) + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&e->change_lock);
    while (!(there = e->changes_head != e->changes_tail))
        if (timeout == 0 || pthread_cond_timedwait(&e->change_came, &e->change_lock, &until) == ETIMEDOUT)
            break;
    if (there) {
        const uint32_t *change = e->changes[e->changes_head++ % CHANGES];

        *offset = change[0];
        *before = change[1];
        *value = change[2];
    }
    pthread_mutex_unlock(&e->change_lock);
    return there;
}
