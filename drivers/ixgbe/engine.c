/* The engine as a whole: its rings' beginning and end, what a poll does, its thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "inside.h"

#define BURST 64         /* descriptors of a queue that one poll takes */
#define RESTLESS 2000     /* polls without anything to do before it sleeps */
#define LOOK_IDLE 4      /* polls from one look at a watched page to the next, when there is nothing to do */
#define LOOK_EVERY 64    /* polls from one look at a watched page to the next */

uint64_t ix_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct ixgbe *ixgbe_make(struct dma_map *map, void *registers, struct faults *faults)
{
    struct ixgbe *e = aligned_alloc(64, (sizeof *e + 63) & ~63UL);
    pthread_condattr_t monotonic;

    if (!e)
        return NULL;
    memset(e, 0, sizeof *e);
    e->registers = registers;
    e->faults = faults;
    e->removal = -1;
    e->dma = dma_user_make(map);
    e->buffer = malloc(2 * IXGBE_BAR * 8 + 2 * IXGBE_FRAME);
    e->staging = calloc(1, LONGEST_TSO + 4096);
    e->segment = calloc(1, IXGBE_FRAME + 4096);
    e->incoming = calloc(1, IXGBE_FRAME + 4096);
    e->defaults = calloc(1, IXGBE_BAR);
    if (!e->dma || !e->buffer || !e->staging || !e->segment || !e->incoming || !e->defaults || !ix_wire_make(e)) {
        ixgbe_end(e);
        return NULL;
    }
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->change_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&e->change_came, &monotonic);
    pthread_condattr_destroy(&monotonic);
    for (int i = 0; i < IXGBE_VECTORS; i++)
        e->eventfds[i] = -1;
    for (int kind = FAULT_LATE; kind < FAULT_KINDS; kind++)
        e->faulty |= faults->per_million[kind] != 0;
    e->faulty |= faults->removal_after != 0;
    return e;
}

void ixgbe_end(struct ixgbe *e)
{
    ix_wire_end(e);
    free(e->buffer);
    free(e->staging);
    free(e->segment);
    free(e->incoming);
    free(e->defaults);
    free(e->seen);
    free(e->own);
    free(e); /* its dma_user belongs to the map */
}

void ixgbe_lock(struct ixgbe *e)
{
    atomic_fetch_add(&e->wanted, 1);
    pthread_mutex_lock(&e->lock);
    atomic_fetch_sub(&e->wanted, 1);
}

void ixgbe_unlock(struct ixgbe *e)
{
    pthread_mutex_unlock(&e->lock);
}

void ixgbe_error(struct ixgbe *e, enum ixgbe_error kind, unsigned queue, uint64_t value)
{
    e->errors[kind]++;
    e->reports[e->reported++ % REPORTS] = (struct ixgbe_report){kind, queue, value};
}

uint64_t ixgbe_error_count(struct ixgbe *e, enum ixgbe_error kind)
{
    return kind < IXGBE_ERRORS ? e->errors[kind] : 0;
}

unsigned ixgbe_reports(struct ixgbe *e, struct ixgbe_report *to, unsigned most)
{
    uint64_t first = e->reported > REPORTS ? e->reported - REPORTS : 0;
    unsigned count = 0;

    for (; first < e->reported && count < most; first++)
        to[count++] = e->reports[first % REPORTS];
    return count;
}

/* The queue does nothing more until it is disabled and enabled again. */
void ix_stop_queue(struct ixgbe *e, bool transmit, unsigned queue)
{
    (transmit ? e->tx : e->rx)[queue].stopped = true;
    (transmit ? e->tx_on : e->rx_on)[queue / 64] &= ~(1UL << queue % 64);
}

/* A master abort on the bus: the queue stops, and the driver may hear of it. */
void ix_dma_fault(struct ixgbe *e, bool transmit, unsigned queue, uint64_t address)
{
    ixgbe_error(e, IXGBE_DMA_FAULT, queue, address);
    ix_stop_queue(e, transmit, queue);
    ixgbe_cause(e, EICR_PCI | EICR_DHER);
}

bool ixgbe_busy(struct ixgbe *e)
{
    for (unsigned queue = 0; queue < IXGBE_QUEUES; queue++)
        if (e->tx[queue].enabled && !e->tx[queue].stopped && reg(e, e->tx[queue].tail_at) != e->tx[queue].head)
            return true;
    return false;
}

static void clear(struct ixgbe *e)
{
    memset(e->rx, 0, sizeof e->rx);
    memset(e->tx, 0, sizeof e->tx);
    memset(e->rx_on, 0, sizeof e->rx_on);
    memset(e->tx_on, 0, sizeof e->tx_on);
    memset(e->fired, 0, sizeof e->fired);
    memset(e->rx_dirty, 0, sizeof e->rx_dirty);
    e->all_packets = 0;
    e->all_octets = 0;
    e->received = e->transmitted = (struct tally){0};
    e->pending = e->vectors = 0;
    e->unmasked = 0;
    e->fresh = false;
    e->steered = false;
    e->buffered = e->buffer_first = e->buffer_end = 0;
}

void ixgbe_link(struct ixgbe *e, int64_t up_after)
{
    if (e->link)
        ixgbe_cause(e, EICR_LINK);
    e->link = false;
    put(e, LINKS, reg(e, LINKS) & ~LINKS_UP_10G);
    put(e, STATUS, reg(e, STATUS) & ~STATUS_LINK);
    e->link_at = up_after < 0 ? 0 : (int64_t)ix_now() + up_after;
    ixgbe_tick(e);
}

void ixgbe_defaults(struct ixgbe *e, const void *registers, int64_t link_after)
{
    memcpy(e->defaults, registers, IXGBE_BAR);
    e->link_after = link_after;
}

void ixgbe_reset(struct ixgbe *e)
{
    clear(e);
    ix_serial_reset(e);
    ix_forget_changes(e);
    memcpy(e->registers, e->defaults, IXGBE_BAR);
    if (e->seen)
        memcpy(e->seen, e->defaults, IXGBE_BAR);
    ixgbe_link(e, e->link_after);
    ixgbe_clear_causes(e, UINT32_MAX);
    e->fresh = false;
    e->pending = 0;
}

void ixgbe_tick(struct ixgbe *e)
{
    if (e->removed)
        return;
    if (e->link_at && (int64_t)ix_now() >= e->link_at) {
        e->link_at = 0;
        e->link = true;
        put(e, LINKS, reg(e, LINKS) | LINKS_UP_10G);
        put(e, STATUS, reg(e, STATUS) | STATUS_LINK);
        ixgbe_cause(e, EICR_LINK);
    }
    ix_deliver_events(e);
}

void ixgbe_removal(struct ixgbe *e, int eventfd)
{
    e->removal = eventfd;
}

bool ixgbe_removed(struct ixgbe *e)
{
    return e->removed;
}

void ixgbe_remove(struct ixgbe *e)
{
    if (e->removed)
        return;
    clear(e);
    e->link = false;
    e->link_at = 0;
    e->watched = 0;
    e->removed = true;
    memset(e->registers, 0xff, IXGBE_BAR);
    if (e->removal >= 0 && write(e->removal, &(uint64_t){1}, 8) < 0) {
        /* Told before. */
    }
}

unsigned ixgbe_poll(struct ixgbe *e)
{
    unsigned done = 0;

    if (e->faulty && fault_removed(e->faults))
        ixgbe_remove(e);
    if (e->removed)
        return 0;
    e->looked = false;
    if (e->link_at)
        ixgbe_tick(e);
    dma_enter(e->dma);
    done += ix_wire_in(e);
    if (e->link && !(reg(e, RTTDCS) >> 6 & 1))
        for (unsigned half = 0; half < 2; half++)
            for (uint64_t left = e->tx_on[half]; left; left &= left - 1)
                done += ix_transmit(e, half * 64 + (unsigned)__builtin_ctzl(left), BURST);
    dma_leave(e->dma);
    ix_receive_flush(e);
    ix_tally_flush(e);
    if (e->pending || e->fresh)
        ix_deliver_events(e);
    return done;
}

static void *run(void *argument)
{
    struct ixgbe *e = argument;
    uint64_t idle = 0;

    for (unsigned turn = 0; !atomic_load_explicit(&e->stop, memory_order_relaxed); turn++) {
        unsigned done;

        while (atomic_load_explicit(&e->wanted, memory_order_relaxed))
            sched_yield();
        pthread_mutex_lock(&e->lock);
        done = ixgbe_poll(e);
        if (e->watched && idle > RESTLESS && e->idle_ns)
            ixgbe_scan(e);
        else if (e->watched && turn % (done ? LOOK_EVERY : LOOK_IDLE) == 0)
            ix_watch_some(e);
        pthread_mutex_unlock(&e->lock);
        idle = done ? 0 : idle + 1;
        if (idle && e->idle_ns && idle > RESTLESS)
            nanosleep(&(struct timespec){(time_t)(e->idle_ns / 1000000000), (long)(e->idle_ns % 1000000000)}, NULL);
        else if (idle > 100)
            __builtin_ia32_pause();
    }
    return NULL;
}

int ixgbe_run(struct ixgbe *e, uint64_t idle_ns)
{
    int error;

    if (e->running)
        return 0;
    e->idle_ns = idle_ns;
    atomic_store(&e->stop, false);
    error = pthread_create(&e->thread, NULL, run, e);
    e->running = error == 0;
    return error;
}

void ixgbe_halt(struct ixgbe *e)
{
    if (!e->running)
        return;
    atomic_store(&e->stop, true);
    pthread_join(e->thread, NULL);
    e->running = false;
}
