/* Doorbells, completions, interrupts, events of the NVMe model: what the engine tells, and what it is told. */
#define _GNU_SOURCE
#include "inside.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void nvme_tell(struct nvme *nvme, struct nvme_event event)
{
    if (nvme->event_count == EVENTS) {
        nvme->count.events_lost++;
        return;
    }
    nvme->event[(nvme->event_head + nvme->event_count++) % EVENTS] = event;
}

void nvme_stop_fatally(struct nvme *nvme, unsigned queue)
{
    if (!nvme->fatal)
        nvme_tell(nvme, (struct nvme_event){.kind = NVME_FATAL, .queue = (uint16_t)queue});
    nvme->count.dma_faults++;
    nvme->fatal = true;
}

/* --- interrupts --- */

void nvme_raise_vector(struct nvme *nvme, unsigned vector)
{
    uint64_t one = 1;

    if (nvme->masked >> vector & 1) {
        nvme->pending |= 1UL << vector;
        return;
    }
    nvme->count.interrupts++;
    if (nvme->eventfd[vector] >= 0) {
        ssize_t done = write(nvme->eventfd[vector], &one, sizeof one);

        (void)done; /* its count is at the limit: it is readable, which is all that matters */
    }
    if (nvme->counts) {
        __atomic_fetch_add(&nvme->counts[vector], 1, __ATOMIC_RELEASE);
        __atomic_fetch_add(&nvme->counts[COUNTS], 1, __ATOMIC_RELEASE);
        syscall(SYS_futex, &nvme->counts[COUNTS], FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

/* --- completions --- */

static bool is_full(const struct cq *cq)
{
    return (cq->tail + 1 == cq->size ? 0 : cq->tail + 1) == cq->head;
}

/* A value the guest writes for a queue: the doorbell, or its shadow (5.7), which the admin queue's never is. */
uint32_t nvme_doorbell_value(struct nvme *nvme, unsigned slot)
{
    if (nvme->shadowed && slot >= 2) {
        const volatile uint32_t *shadow = dma_at(nvme->user, nvme->shadow + slot * 4, 4, false);

        if (!shadow) {
            nvme_stop_fatally(nvme, slot / 2);
            return 0;
        }
        return __atomic_load_n(shadow, __ATOMIC_ACQUIRE);
    }
    return __atomic_load_n(&nvme->doorbells[slot], __ATOMIC_ACQUIRE);
}

/* A doorbell that is refused is set back, so that the same value is seen when it is written again; where it cannot be,
 * it is refused once, not in each pass. */
static void refuse(struct nvme *nvme, unsigned slot, uint32_t value, uint32_t back)
{
    volatile uint32_t *at = &nvme->doorbells[slot];

    nvme->refused[slot] = value;
    if (nvme->shadowed && slot >= 2)
        at = dma_at(nvme->user, nvme->shadow + slot * 4, 4, true);
    if (at)
        __atomic_compare_exchange_n(at, &value, back, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    value = (uint32_t)nvme->refused[slot];
    if (at) /* seen again if it is written again */
        nvme->refused[slot] = NOTHING;
    nvme->count.bad_doorbells++;
    nvme_tell(nvme, (struct nvme_event){.kind = NVME_BAD_VALUE, .queue = (uint16_t)(slot / 2), .value = value});
}

void nvme_look_at_cq(struct nvme *nvme, unsigned id)
{
    struct cq *cq = &nvme->cq[id];
    uint32_t head = nvme_doorbell_value(nvme, 2 * id + 1), posted;

    if (head == cq->head || nvme->fatal || head == nvme->refused[2 * id + 1])
        return;
    posted = (cq->tail >= cq->head ? 0 : cq->size) + cq->tail - cq->head;
    if (head >= cq->size || (head >= cq->head ? 0 : cq->size) + head - cq->head > posted) {
        refuse(nvme, 2 * id + 1, head, cq->head);
        return;
    }
    cq->head = head;
}

void nvme_look_at_sq(struct nvme *nvme, unsigned id)
{
    struct sq *sq = &nvme->sq[id];
    uint32_t tail = nvme_doorbell_value(nvme, 2 * id), there, added;

    if (tail == sq->tail || nvme->fatal || tail == nvme->refused[2 * id])
        return;
    there = (sq->tail >= sq->head ? 0 : sq->size) + sq->tail - sq->head;
    added = (tail >= sq->tail ? 0 : sq->size) + tail - sq->tail;
    if (tail >= sq->size || there + added >= sq->size) { /* 3.1.24: more than the queue holds */
        refuse(nvme, 2 * id, tail, sq->tail);
        return;
    }
    nvme->count.doorbells++;
    sq->tail = tail;
}

/* Posts without looking at room. */
void nvme_post_entry(struct nvme *nvme, unsigned sqid, uint16_t cid, uint16_t status, uint32_t result)
{
    const struct sq *sq = &nvme->sq[sqid];
    struct cq *cq = &nvme->cq[sq->cq];
    uint8_t *at = dma_at(nvme->user, cq->iova + cq->tail * 16UL, 16, true);
    struct cqe cqe = {result, 0, (uint16_t)sq->head, (uint16_t)sqid, cid, (uint16_t)(status << 1 | cq->phase)};
    uint64_t half[2];

    if (!at) {
        nvme_stop_fatally(nvme, sq->cq);
        return;
    }
    memcpy(half, &cqe, sizeof half);
    /* The phase bit is in the second half, which is stored as a whole and last. */
    __atomic_store_n((uint64_t *)at, half[0], __ATOMIC_RELAXED);
    __atomic_store_n((uint64_t *)at + 1, half[1], __ATOMIC_RELEASE);
    if (++cq->tail == cq->size) {
        cq->tail = 0;
        cq->phase ^= 1;
    }
    cq->raise = true;
}

void nvme_free_command(struct nvme *nvme, struct command *command)
{
    command->place = FREE;
    command->next = nvme->unused;
    nvme->unused = command;
    nvme->unused_count++;
}

struct command *nvme_take_command(struct nvme *nvme)
{
    struct command *command = nvme->unused;

    nvme->unused = command->next;
    nvme->unused_count--;
    return command;
}

bool nvme_has_room(struct nvme *nvme, unsigned id)
{
    struct cq *cq = &nvme->cq[id];

    if (!is_full(cq))
        return true;
    nvme_look_at_cq(nvme, id);
    return !is_full(cq);
}

static void identifier_is_free(struct sq *sq, uint16_t cid)
{
    sq->in_progress[cid / 64] &= ~(1UL << cid % 64);
}

void nvme_fail(struct nvme *nvme, unsigned sq, uint16_t cid, uint16_t status, uint64_t lba)
{
    nvme->count.errors++;
    nvme_tell(nvme, (struct nvme_event){.kind = NVME_STATUS, .queue = (uint16_t)sq, .cid = cid, .status = status,
                                   .lba = lba});
}

/* Posts a command's completion; there is room for one. */
static void post_command(struct nvme *nvme, struct command *command)
{
    struct sq *sq = &nvme->sq[command->sq];
    unsigned times = command->fault == FAULT_DUPLICATED ? 2 : 1;

    identifier_is_free(sq, command->cid);
    if (command->status)
        nvme_fail(nvme, command->sq, command->cid, command->status, command->lba);
    while (times-- && nvme_has_room(nvme, sq->cq) && !nvme->fatal)
        nvme_post_entry(nvme, command->sq, command->cid, command->status, command->result);
    nvme_free_command(nvme, command);
}

/* Tells of a command that has ended, now or when there is room. */
void nvme_tell_command(struct nvme *nvme, struct command *command)
{
    struct cq *cq = &nvme->cq[nvme->sq[command->sq].cq];

    if (command->dead) {
        nvme_free_command(nvme, command);
    } else if (cq->held || !nvme_has_room(nvme, nvme->sq[command->sq].cq)) {
        command->place = HELD;
        command->next = NULL;
        *cq->held_end = command;
        cq->held_end = &command->next;
    } else {
        post_command(nvme, command);
    }
}

void nvme_tell_held(struct nvme *nvme, unsigned id)
{
    struct cq *cq = &nvme->cq[id];

    while (cq->held && !nvme->fatal && nvme_has_room(nvme, id)) {
        struct command *command = cq->held;

        cq->held = command->next;
        if (!cq->held)
            cq->held_end = &cq->held;
        post_command(nvme, command);
    }
}

/* A command is done but for what faults make of its completion. */
void nvme_end_command(struct nvme *nvme, struct command *command)
{
    if (command->fault == FAULT_LATE && !command->dead) {
        command->place = LATE;
        command->due = now() + nvme->faults.late_ns;
        command->next = nvme->late;
        nvme->late = command;
    } else if (command->fault == FAULT_LOST && !command->dead) {
        command->place = LOST;
    } else {
        nvme_tell_command(nvme, command);
    }
}

void nvme_tell_late(struct nvme *nvme)
{
    struct command **link = &nvme->late;
    uint64_t time = now();

    while (*link) {
        struct command *command = *link;

        if (command->due > time && !command->dead) {
            link = &command->next;
            continue;
        }
        *link = command->next;
        nvme_tell_command(nvme, command);
    }
}
