/* Interrupts (datasheet section 7.3): causes, vectors, moderation, automatic clearing and masking. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "inside.h"

#define OTHER_CAUSES 0x7fff0000u
#define VALID 0x80

void ixgbe_events(struct ixgbe *e, const int *eventfds, uint32_t *counts)
{
    e->has_events = eventfds || counts;
    for (int i = 0; i < IXGBE_VECTORS; i++)
        e->eventfds[i] = eventfds ? eventfds[i] : -1;
    e->event_counts = counts;
}

/* As lib/outside.h has it: a count for each vector, then one of all. */
static void fire(struct ixgbe *e, unsigned vector)
{
    uint64_t one = 1;

    e->fired[vector] = ix_now();
    if (e->eventfds[vector] >= 0 && write(e->eventfds[vector], &one, sizeof one) < 0) {
        /* Full: whoever waits has not looked at 2^64 - 2 of them. */
    }
    if (e->event_counts) {
        __atomic_fetch_add(&e->event_counts[vector], 1, __ATOMIC_RELEASE);
        __atomic_fetch_add(&e->event_counts[IXGBE_VECTORS], 1, __ATOMIC_RELEASE);
        syscall(SYS_futex, &e->event_counts[IXGBE_VECTORS], FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

/* Puts a register where a driver reads it, unless the driver has written something that has not been seen yet. */
static void show(struct ixgbe *e, uint32_t offset, uint32_t value)
{
    if (e->seen)
        ixgbe_settle(e, offset, e->seen[offset / 4], value);
    else
        put(e, offset, value);
}

static void set_causes(struct ixgbe *e, uint32_t causes)
{
    e->causes = causes;
    show(e, EICR, causes);
}

static void mark(struct ixgbe *e, uint8_t allocation)
{
    unsigned vector = allocation & 63;

    if (reg(e, GPIE) & GPIE_MSIX) {
        e->pending |= 1UL << vector;
        if (vector < 16)
            set_causes(e, e->causes | 1u << vector);
    } else {
        set_causes(e, e->causes | 1u << (vector & 15));
        e->fresh = true;
    }
}

void ix_queue_event(struct ixgbe *e, unsigned queue, bool transmit)
{
    uint8_t allocation = e->registers[IVAR + 4 * (queue / 2) + queue % 2 * 2 + transmit];

    if (allocation & VALID)
        mark(e, allocation);
}

void ixgbe_cause(struct ixgbe *e, uint32_t bits)
{
    uint8_t allocation = e->registers[IVAR_MISC + 1];

    set_causes(e, e->causes | bits);
    e->fresh = true;
    for (unsigned vector = 0; vector < 16; vector++)
        if (bits >> vector & 1)
            e->pending |= 1UL << vector;
    if (bits & OTHER_CAUSES && allocation & VALID)
        e->pending |= 1UL << (allocation & 63);
}

uint32_t ixgbe_clear_causes(struct ixgbe *e, uint32_t bits)
{
    set_causes(e, e->causes & ~bits);
    return e->causes;
}

/* What is in EICR and was masked is told of now. */
static void raise_again(struct ixgbe *e)
{
    if (e->causes)
        ixgbe_cause(e, e->causes);
}

/* Where EIMS is memory its highest bit, which is reserved, is set: so that a write of what is there already is seen, after
 * EIMC perhaps, which may have been seen or not. */
static void show_masks(struct ixgbe *e)
{
    show(e, EIMS, e->unmasked | (e->watched & 1 && e->unmasked ? 1u << 31 : 0));
    show(e, EIMS_EX, (uint32_t)e->vectors);
    show(e, EIMS_EX + 4, (uint32_t)(e->vectors >> 32));
}

uint32_t ixgbe_mask(struct ixgbe *e, uint32_t on, uint32_t off)
{
    e->unmasked = (e->unmasked & ~off) | (on & 0x7fffffff);
    e->vectors = (e->vectors & ~0xffffUL) | (e->unmasked & 0xffff);
    show_masks(e);
    if (on)
        raise_again(e);
    return reg(e, EIMS);
}

uint32_t ixgbe_mask_vectors(struct ixgbe *e, unsigned first, uint32_t on, uint32_t off)
{
    e->vectors = (e->vectors & ~((uint64_t)off << first)) | (uint64_t)on << first;
    e->unmasked = (e->unmasked & ~0xffffu) | (uint32_t)(e->vectors & 0xffff);
    show_masks(e);
    if (on)
        raise_again(e);
    return (uint32_t)(e->vectors >> first);
}

static bool allowed(const struct ixgbe *e, unsigned vector)
{
    uint8_t other = e->registers[IVAR_MISC + 1];

    if (e->vectors >> vector & 1)
        return true;
    return other & VALID && (other & 63) == vector && e->causes & e->unmasked & OTHER_CAUSES;
}

/* EITR bits 11:3 are the least time between two events, in units of 2 us at 10 Gb/s. */
static bool throttled(const struct ixgbe *e, unsigned vector)
{
    uint32_t interval = reg(e, vector < 24 ? EITR + 4 * vector : EITR_MORE + 4 * (vector - 24)) >> 3 & 511;

    return interval && e->fired[vector] && ix_now() - e->fired[vector] < interval * 2000UL;
}

/* A vector has told, and masks itself if it is to: EIAM has the first 16 vectors as EIAM_EX(0) has, and other causes. */
static void mask_itself(struct ixgbe *e, unsigned vector)
{
    uint8_t other = e->registers[IVAR_MISC + 1];

    if (reg(e, EIAM_EX + vector / 32 * 4) >> (vector & 31) & 1) {
        e->vectors &= ~(1UL << vector);
        if (vector < 16)
            e->unmasked &= ~(1u << vector);
    }
    if (other & VALID && (other & 63) == vector)
        e->unmasked &= ~(reg(e, EIAM) & e->causes & OTHER_CAUSES);
    show_masks(e);
}

void ixgbe_raise(struct ixgbe *e, unsigned first, uint32_t vectors)
{
    if (reg(e, GPIE) & GPIE_MSIX)
        e->pending |= (uint64_t)vectors << first;
    if (first == 0)
        ixgbe_cause(e, vectors & 0xffff);
}

static void deliver_one(struct ixgbe *e)
{
    uint32_t causes = e->causes & e->unmasked;

    if (!e->fresh || !causes || throttled(e, 0))
        return;
    e->fresh = false;
    fire(e, 0);
}

static void deliver_vectors(struct ixgbe *e)
{
    for (uint64_t left = e->pending; left; left &= left - 1) {
        unsigned vector = (unsigned)__builtin_ctzl(left);
        uint32_t bit = vector < 16 ? 1u << vector : 0;

        if (!allowed(e, vector)) {
            /* What is masked waits in EICR; vectors from 16 on have no bit there and wait here. */
            if (bit)
                e->pending &= ~(1UL << vector);
            continue;
        }
        if (throttled(e, vector))
            continue;
        e->pending &= ~(1UL << vector);
        fire(e, vector);
        if (reg(e, EIAC) & bit)
            set_causes(e, e->causes & ~bit);
        if (reg(e, GPIE) & GPIE_AUTO_MASK)
            mask_itself(e, vector);
    }
}

void ix_deliver_events(struct ixgbe *e)
{
    if (!e->has_events)
        return;
    if (!(reg(e, GPIE) & GPIE_MSIX)) {
        e->pending = 0;
        deliver_one(e);
    } else if (e->pending) {
        deliver_vectors(e);
    }
}
