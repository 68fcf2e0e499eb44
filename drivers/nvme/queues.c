/* The engine as model.py uses it: made and ended, queues created and deleted, admin commands handed over. */
#define _GNU_SOURCE
#include "inside.h"

#include <stdlib.h>
#include <unistd.h>

struct nvme *nvme_make(struct dma_map *map, volatile uint32_t *doorbells, struct storage *storage, uint64_t blocks,
                       uint32_t block)
{
    struct nvme *nvme = calloc(1, sizeof *nvme);

    if (!nvme)
        return NULL;
    nvme->user = dma_user_make(map);
    nvme->parts = calloc(COMMANDS * PARTS, sizeof *nvme->parts);
    if (!nvme->user || !nvme->parts) {
        free(nvme->parts);
        free(nvme);
        return NULL;
    }
    pthread_mutex_init(&nvme->lock, NULL);
    nvme->doorbells = doorbells;
    nvme->storage = storage;
    nvme->blocks = blocks;
    nvme->shift = (unsigned)__builtin_ctz(block);
    for (int i = COMMANDS - 1; i >= 0; i--) {
        nvme->command[i].part = nvme->parts + i * PARTS;
        nvme_free_command(nvme, &nvme->command[i]);
    }
    for (int i = 0; i < NVME_VECTORS; i++)
        nvme->eventfd[i] = -1;
    memset(nvme->refused, 0xff, sizeof nvme->refused);
    return nvme;
}

void nvme_end(struct nvme *nvme)
{
    nvme_stop(nvme);
    for (unsigned id = 0; id < NVME_QUEUES; id++)
        free(nvme->sq[id].in_progress);
    pthread_mutex_destroy(&nvme->lock);
    free(nvme->parts);
    free(nvme); /* its dma_user is the map's */
}

void nvme_watch(struct nvme *nvme, const volatile uint32_t *shared, const uint32_t *seen)
{
    lock(nvme);
    nvme->shared = shared;
    nvme->seen = seen;
    unlock(nvme);
}

/* Data that moves for commands of a queue that is going is waited for: a device that was reset writes no memory. */
static void wait_for_dead(struct nvme *nvme, unsigned id)
{
    for (bool moving = true; moving;) {
        dma_enter(nvme->user);
        storage_submit(nvme->storage);
        nvme_take_stored(nvme);
        dma_leave(nvme->user);
        moving = false;
        for (unsigned i = 0; i < COMMANDS; i++)
            if (nvme->command[i].place == STORING && nvme->command[i].sq == id)
                moving = true;
        if (moving)
            usleep(20);
    }
}

static void unlink_command(struct command **list, const struct command *command)
{
    for (; *list; list = &(*list)->next)
        if (*list == command) {
            *list = command->next;
            return;
        }
}

/* Takes a command out of where it waits, if it does. */
static bool take_out(struct nvme *nvme, struct command *command)
{
    struct cq *cq = &nvme->cq[nvme->sq[command->sq].cq];

    switch (command->place) {
    case LATE:
        unlink_command(&nvme->late, command);
        return true;
    case HELD:
        unlink_command(&cq->held, command);
        for (cq->held_end = &cq->held; *cq->held_end;)
            cq->held_end = &(*cq->held_end)->next;
        return true;
    case LOST:
        return true;
    case FREE:
    case STORING:
        break;
    }
    return false;
}

static void end_sq(struct nvme *nvme, unsigned id)
{
    struct sq *sq = &nvme->sq[id];

    if (!sq->exists)
        return;
    for (unsigned i = 0; i < COMMANDS; i++) {
        struct command *command = &nvme->command[i];

        if (command->place == FREE || command->sq != id)
            continue;
        if (take_out(nvme, command))
            nvme_free_command(nvme, command);
        else
            command->dead = true;
    }
    wait_for_dead(nvme, id);
    sq->exists = false;
    nvme->cq[sq->cq].users--;
    nvme->doorbells[2 * id] = 0;
    memset(sq->in_progress, 0, 65536 / 8);
}

static void end_cq(struct nvme *nvme, unsigned id)
{
    nvme->cq[id].exists = false;
    nvme->cq[id].raise = false;
    nvme->doorbells[2 * id + 1] = 0;
}

void nvme_stop(struct nvme *nvme)
{
    lock(nvme);
    for (unsigned id = 0; id < NVME_QUEUES; id++)
        end_sq(nvme, id);
    for (unsigned id = 0; id < NVME_QUEUES; id++)
        end_cq(nvme, id);
    nvme->enabled = nvme->fatal = nvme->shadowed = false;
    memset(nvme->refused, 0xff, sizeof nvme->refused);
    nvme->admin_head = nvme->admin_count = 0;
    nvme->queues = 0;
    nvme->pending = 0;
    unlock(nvme);
}

static void make_cq(struct nvme *nvme, unsigned id, uint64_t iova, uint32_t size, unsigned vector, bool interrupts)
{
    struct cq *cq = &nvme->cq[id];

    *cq = (struct cq){.exists = true, .interrupts = interrupts, .vector = vector, .iova = iova, .size = size,
                      .phase = 1};
    cq->held_end = &cq->held;
    nvme->doorbells[2 * id + 1] = 0;
    if (id >= nvme->queues)
        nvme->queues = id + 1;
}

static bool make_sq(struct nvme *nvme, unsigned id, uint64_t iova, uint32_t size, unsigned cq)
{
    struct sq *sq = &nvme->sq[id];
    uint64_t *in_progress = sq->in_progress ? sq->in_progress : calloc(1, 65536 / 8);

    if (!in_progress)
        return false;
    *sq = (struct sq){.exists = true, .cq = cq, .iova = iova, .size = size, .in_progress = in_progress};
    nvme->cq[cq].users++;
    nvme->doorbells[2 * id] = 0;
    if (id >= nvme->queues)
        nvme->queues = id + 1;
    return true;
}

bool nvme_start(struct nvme *nvme, uint64_t sq, uint32_t sq_size, uint64_t cq, uint32_t cq_size)
{
    lock(nvme);
    make_cq(nvme, 0, cq, cq_size, 0, true);
    nvme->enabled = make_sq(nvme, 0, sq, sq_size, 0);
    unlock(nvme);
    return nvme->enabled;
}

void nvme_cq_make(struct nvme *nvme, unsigned id, uint64_t iova, uint32_t size, unsigned vector, bool interrupts)
{
    lock(nvme);
    make_cq(nvme, id, iova, size, vector, interrupts);
    unlock(nvme);
}

bool nvme_sq_make(struct nvme *nvme, unsigned id, uint64_t iova, uint32_t size, unsigned cq)
{
    bool made;

    lock(nvme);
    made = make_sq(nvme, id, iova, size, cq);
    unlock(nvme);
    return made;
}

void nvme_sq_end(struct nvme *nvme, unsigned id)
{
    lock(nvme);
    end_sq(nvme, id);
    unlock(nvme);
}

void nvme_cq_end(struct nvme *nvme, unsigned id)
{
    lock(nvme);
    end_cq(nvme, id);
    unlock(nvme);
}

bool nvme_sq_exists(struct nvme *nvme, unsigned id)
{
    return id < NVME_QUEUES && nvme->sq[id].exists;
}

bool nvme_cq_exists(struct nvme *nvme, unsigned id)
{
    return id < NVME_QUEUES && nvme->cq[id].exists;
}

unsigned nvme_cq_users(struct nvme *nvme, unsigned id)
{
    return nvme->cq[id].users;
}

bool nvme_shadow(struct nvme *nvme, uint64_t shadow, uint64_t events)
{
    const volatile uint32_t *from;
    bool reached;

    lock(nvme);
    dma_enter(nvme->user);
    from = dma_at(nvme->user, shadow, DMA_PAGE, false);
    reached = from && dma_at(nvme->user, events, DMA_PAGE, true);
    nvme->shadow = shadow;
    nvme->events = events;
    nvme->shadowed = reached;
    for (unsigned id = 1; reached && id < nvme->queues; id++) { /* queues that are there go on where they are */
        volatile uint32_t *to = dma_at(nvme->user, shadow + 8 * id, 8, true);

        if (to && nvme->sq[id].exists)
            to[0] = nvme->sq[id].tail;
        if (to && nvme->cq[id].exists)
            to[1] = nvme->cq[id].head;
    }
    dma_leave(nvme->user);
    unlock(nvme);
    return reached;
}

void nvme_interrupts(struct nvme *nvme, const int *eventfds, volatile uint32_t *counts)
{
    lock(nvme);
    for (unsigned i = 0; i < NVME_VECTORS; i++)
        nvme->eventfd[i] = eventfds ? eventfds[i] : -1;
    nvme->counts = counts;
    unlock(nvme);
}

void nvme_vector_mask(struct nvme *nvme, unsigned vector, bool masked)
{
    uint64_t bit = 1UL << vector;

    lock(nvme);
    nvme->masked = masked ? nvme->masked | bit : nvme->masked & ~bit;
    if (!masked && nvme->pending & bit) {
        nvme->pending &= ~bit;
        nvme_raise_vector(nvme, vector);
    }
    unlock(nvme);
}

uint64_t nvme_pending(struct nvme *nvme)
{
    return nvme->pending;
}

bool nvme_admin_take(struct nvme *nvme, uint8_t *into)
{
    bool taken;

    lock(nvme);
    taken = nvme->admin_count > 0;
    if (taken) {
        memcpy(into, &nvme->admin[nvme->admin_head], 64);
        nvme->admin_head = (nvme->admin_head + 1) % BATCH;
        nvme->admin_count--;
    }
    unlock(nvme);
    return taken;
}

void nvme_admin_done(struct nvme *nvme, uint16_t cid, uint16_t status, uint32_t result)
{
    struct command *command;

    lock(nvme);
    if (nvme->sq[0].exists && nvme->unused) {
        command = nvme_take_command(nvme);
        command->sq = 0;
        command->cid = cid;
        command->status = status;
        command->result = result;
        command->lba = 0;
        command->dead = false;
        command->fault = FAULT_NONE;
        dma_enter(nvme->user);
        nvme_tell_command(nvme, command);
        dma_leave(nvme->user);
    }
    unlock(nvme);
}

bool nvme_abort(struct nvme *nvme, unsigned queue, uint16_t cid)
{
    bool found = false;

    lock(nvme);
    for (unsigned i = 0; i < COMMANDS && !found; i++) {
        struct command *command = &nvme->command[i];

        if (command->place == FREE || command->dead || command->sq != queue || command->cid != cid)
            continue;
        if (command->place == HELD || !take_out(nvme, command))
            break;
        found = true;
        command->status = ABORTED;
        command->fault = FAULT_NONE;
        dma_enter(nvme->user);
        nvme_tell_command(nvme, command);
        dma_leave(nvme->user);
    }
    unlock(nvme);
    return found;
}

bool nvme_event_take(struct nvme *nvme, struct nvme_event *into)
{
    bool taken;

    lock(nvme);
    taken = nvme->event_count > 0;
    if (taken) {
        *into = nvme->event[nvme->event_head];
        nvme->event_head = (nvme->event_head + 1) % EVENTS;
        nvme->event_count--;
    }
    unlock(nvme);
    return taken;
}

void nvme_counts(struct nvme *nvme, struct nvme_counts *into)
{
    lock(nvme);
    *into = nvme->count;
    unlock(nvme);
}

void nvme_write_cache(struct nvme *nvme, bool enabled)
{
    lock(nvme);
    nvme->uncached = !enabled;
    unlock(nvme);
}

void nvme_flush(struct nvme *nvme)
{
    lock(nvme);
    for (unsigned id = 0; id < nvme->queues; id++)
        wait_for_dead(nvme, id);
    /* Of itself, not as an operation in progress: no command waits for it. */
    storage_flush(nvme->storage);
    unlock(nvme);
}

void nvme_remove(struct nvme *nvme)
{
    lock(nvme);
    nvme->removed = true;
    unlock(nvme);
}

struct faults *nvme_faults(struct nvme *nvme)
{
    return &nvme->faults;
}
