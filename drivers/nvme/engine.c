/* The data path of the NVMe model.  Sections are those of the NVM Express base specification, revision 1.4.
 *
 * What is not trusted: everything that the guest can write.  A submission queue entry is copied before it is looked at,
 * a PRP list entry is read once, and memory is reached by dma_at alone. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS 1024 /* of all queues, in progress at once */
#define RESERVED 64   /* of these, for completions of admin commands */
#define BATCH 32      /* of one queue, before the next has its turn */
#define PARTS ((1 << NVME_MDTS) + 1)
#define EVENTS 256
#define NOTHING (~0UL)
#define STORING_WAIT 50000 /* ns */
#define COUNTS 64 /* the word of all interrupts, after those of the vectors */

enum { /* 4.6.1.2 */
    OK = 0,
    INVALID_OPCODE = 0x01,
    INVALID_FIELD = 0x02,
    CID_CONFLICT = 0x03,
    DATA_TRANSFER_ERROR = 0x04,
    INTERNAL_ERROR = 0x06,
    ABORTED = 0x07,
    INVALID_NAMESPACE = 0x0b,
    INVALID_PRP_OFFSET = 0x13,
    LBA_OUT_OF_RANGE = 0x80,
    WRITE_FAULT = 0x280,
    UNRECOVERED_READ = 0x281,
};

enum { FLUSH = 0, WRITE = 1, READ = 2, WRITE_ZEROES = 8, DATASET_MANAGEMENT = 9 };

struct sqe {
    uint8_t opcode, flags;
    uint16_t cid;
    uint32_t nsid;
    uint64_t reserved, metadata, prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};

struct cqe {
    uint32_t result, reserved;
    uint16_t sqhd, sqid, cid, status;
};

_Static_assert(sizeof(struct sqe) == 64 && sizeof(struct cqe) == 16, "as in 4.2 and 4.6");

struct sq {
    bool exists;
    unsigned cq;
    uint64_t iova;
    uint32_t size, head, tail;
    uint64_t *in_progress; /* a bit a command identifier */
};

struct cq {
    bool exists, interrupts, raise;
    unsigned vector, users;
    uint64_t iova;
    uint32_t size, head, tail;
    uint16_t phase;
    struct command *held, **held_end; /* completions for which there is no room */
};

enum place { FREE, STORING, LATE, LOST, HELD };

struct command {
    struct command *next;
    uint16_t sq, cid, status;
    enum place place;
    enum fault fault;
    bool write, dead; /* dead: its queue is gone, nothing is told */
    uint32_t result;
    uint64_t lba, due;
    unsigned parts;
    struct iovec *part; /* PARTS of them */
};

struct nvme {
    pthread_mutex_t lock;
    unsigned wanted; /* threads that wait for the lock */
    struct dma_user *user;
    volatile uint32_t *doorbells;
    const volatile uint32_t *shared;
    const uint32_t *seen;
    struct storage *storage;
    uint64_t blocks;
    unsigned shift; /* log2 of a block */
    bool enabled, fatal, removed, uncached;
    struct sq sq[NVME_QUEUES];
    struct cq cq[NVME_QUEUES];
    unsigned queues; /* their numbers are below this */
    bool shadowed;
    uint64_t shadow, events;
    uint64_t refused[2 * NVME_QUEUES]; /* a doorbell's value that could not be set back; NOTHING: none */
    struct command command[COMMANDS], *unused;
    struct iovec *parts; /* apart, so that those never used cost no memory */
    unsigned unused_count;
    struct command *late;
    unsigned storing;
    struct sqe admin[BATCH];
    unsigned admin_head, admin_count;
    int eventfd[NVME_VECTORS];
    volatile uint32_t *counts;
    uint64_t masked, pending;
    struct nvme_event event[EVENTS];
    unsigned event_head, event_count;
    struct nvme_counts count;
    struct faults faults;
    uint32_t wake; /* a futex: changes with each doorbell that was trapped, and by nvme_interrupt_run */
    uint32_t asked;
};

static void lock(struct nvme *nvme)
{
    __atomic_fetch_add(&nvme->wanted, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&nvme->lock);
    __atomic_fetch_sub(&nvme->wanted, 1, __ATOMIC_RELAXED);
}

static void unlock(struct nvme *nvme)
{
    pthread_mutex_unlock(&nvme->lock);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void tell(struct nvme *nvme, struct nvme_event event)
{
    if (nvme->event_count == EVENTS) {
        nvme->count.events_lost++;
        return;
    }
    nvme->event[(nvme->event_head + nvme->event_count++) % EVENTS] = event;
}

static void stop_fatally(struct nvme *nvme, unsigned queue)
{
    if (!nvme->fatal)
        tell(nvme, (struct nvme_event){.kind = NVME_FATAL, .queue = (uint16_t)queue});
    nvme->count.dma_faults++;
    nvme->fatal = true;
}

/* --- interrupts --- */

static void raise_vector(struct nvme *nvme, unsigned vector)
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
static uint32_t doorbell_value(struct nvme *nvme, unsigned slot)
{
    if (nvme->shadowed && slot >= 2) {
        const volatile uint32_t *shadow = dma_at(nvme->user, nvme->shadow + slot * 4, 4, false);

        if (!shadow) {
            stop_fatally(nvme, slot / 2);
            return 0;
        }
        return __atomic_load_n(shadow, __ATOMIC_ACQUIRE);
    }
    return __atomic_load_n(&nvme->doorbells[slot], __ATOMIC_ACQUIRE);
}

/* A doorbell that is refused is set back, so that the same value is seen when it is written again; where it cannot be, it
 * is refused once, not in each pass. */
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
    tell(nvme, (struct nvme_event){.kind = NVME_BAD_VALUE, .queue = (uint16_t)(slot / 2), .value = value});
}

static void look_at_cq(struct nvme *nvme, unsigned id)
{
    struct cq *cq = &nvme->cq[id];
    uint32_t head = doorbell_value(nvme, 2 * id + 1), posted;

    if (head == cq->head || nvme->fatal || head == nvme->refused[2 * id + 1])
        return;
    posted = (cq->tail >= cq->head ? 0 : cq->size) + cq->tail - cq->head;
    if (head >= cq->size || (head >= cq->head ? 0 : cq->size) + head - cq->head > posted) {
        refuse(nvme, 2 * id + 1, head, cq->head);
        return;
    }
    cq->head = head;
}

static void look_at_sq(struct nvme *nvme, unsigned id)
{
    struct sq *sq = &nvme->sq[id];
    uint32_t tail = doorbell_value(nvme, 2 * id), there, added;

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
static void post(struct nvme *nvme, unsigned sqid, uint16_t cid, uint16_t status, uint32_t result)
{
    const struct sq *sq = &nvme->sq[sqid];
    struct cq *cq = &nvme->cq[sq->cq];
    uint8_t *at = dma_at(nvme->user, cq->iova + cq->tail * 16UL, 16, true);
    struct cqe cqe = {result, 0, (uint16_t)sq->head, (uint16_t)sqid, cid, (uint16_t)(status << 1 | cq->phase)};
    uint64_t half[2];

    if (!at) {
        stop_fatally(nvme, sq->cq);
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

static void free_command(struct nvme *nvme, struct command *command)
{
    command->place = FREE;
    command->next = nvme->unused;
    nvme->unused = command;
    nvme->unused_count++;
}

static struct command *take_command(struct nvme *nvme)
{
    struct command *command = nvme->unused;

    nvme->unused = command->next;
    nvme->unused_count--;
    return command;
}

static bool has_room(struct nvme *nvme, unsigned id)
{
    struct cq *cq = &nvme->cq[id];

    if (!is_full(cq))
        return true;
    look_at_cq(nvme, id);
    return !is_full(cq);
}

static void identifier_is_free(struct sq *sq, uint16_t cid)
{
    sq->in_progress[cid / 64] &= ~(1UL << cid % 64);
}

static void fail(struct nvme *nvme, unsigned sq, uint16_t cid, uint16_t status, uint64_t lba)
{
    nvme->count.errors++;
    tell(nvme, (struct nvme_event){.kind = NVME_STATUS, .queue = (uint16_t)sq, .cid = cid, .status = status,
                                   .lba = lba});
}

/* Posts a command's completion; there is room for one. */
static void post_command(struct nvme *nvme, struct command *command)
{
    struct sq *sq = &nvme->sq[command->sq];
    unsigned times = command->fault == FAULT_DUPLICATED ? 2 : 1;

    identifier_is_free(sq, command->cid);
    if (command->status)
        fail(nvme, command->sq, command->cid, command->status, command->lba);
    while (times-- && has_room(nvme, sq->cq) && !nvme->fatal)
        post(nvme, command->sq, command->cid, command->status, command->result);
    free_command(nvme, command);
}

/* Tells of a command that has ended, now or when there is room. */
static void tell_command(struct nvme *nvme, struct command *command)
{
    struct cq *cq = &nvme->cq[nvme->sq[command->sq].cq];

    if (command->dead) {
        free_command(nvme, command);
    } else if (cq->held || !has_room(nvme, nvme->sq[command->sq].cq)) {
        command->place = HELD;
        command->next = NULL;
        *cq->held_end = command;
        cq->held_end = &command->next;
    } else {
        post_command(nvme, command);
    }
}

static void tell_held(struct nvme *nvme, unsigned id)
{
    struct cq *cq = &nvme->cq[id];

    while (cq->held && !nvme->fatal && has_room(nvme, id)) {
        struct command *command = cq->held;

        cq->held = command->next;
        if (!cq->held)
            cq->held_end = &cq->held;
        post_command(nvme, command);
    }
}

/* A command is done but for what faults make of its completion. */
static void end_command(struct nvme *nvme, struct command *command)
{
    if (command->fault == FAULT_LATE && !command->dead) {
        command->place = LATE;
        command->due = now() + nvme->faults.late_ns;
        command->next = nvme->late;
        nvme->late = command;
    } else if (command->fault == FAULT_LOST && !command->dead) {
        command->place = LOST;
    } else {
        tell_command(nvme, command);
    }
}

static void tell_late(struct nvme *nvme)
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
        tell_command(nvme, command);
    }
}

/* --- data --- */

/* The parts of memory that PRPs name (4.3), in order.  0 or a status. */
static uint16_t gather(struct nvme *nvme, struct command *command, uint64_t prp1, uint64_t prp2, uint32_t bytes,
                       bool to_host)
{
    uint32_t length = DMA_PAGE - prp1 % DMA_PAGE;
    uint64_t at = prp1, list = prp2;
    bool by_list;

    command->parts = 0;
    if (prp1 % 4)
        return INVALID_PRP_OFFSET;
    if (length > bytes)
        length = bytes;
    by_list = bytes - length > DMA_PAGE;
    if (by_list && list % 8)
        return INVALID_PRP_OFFSET;
    for (;;) {
        void *memory = dma_at(nvme->user, at, length, to_host);

        if (!memory) {
            nvme->count.dma_faults++;
            return DATA_TRANSFER_ERROR;
        }
        command->part[command->parts++] = (struct iovec){memory, length};
        bytes -= length;
        if (!bytes)
            return OK;
        if (!by_list) {
            at = prp2;
        } else {
            const uint64_t *entry = dma_at(nvme->user, list, 8, false);
            uint64_t next = entry ? __atomic_load_n(entry, __ATOMIC_RELAXED) : 0;

            if (entry && list % DMA_PAGE == DMA_PAGE - 8 && bytes > DMA_PAGE) { /* the last slot: where it goes on */
                if (next % DMA_PAGE)
                    return INVALID_PRP_OFFSET;
                list = next;
                entry = dma_at(nvme->user, list, 8, false);
                next = entry ? __atomic_load_n(entry, __ATOMIC_RELAXED) : 0;
            }
            if (!entry) {
                nvme->count.dma_faults++;
                return DATA_TRANSFER_ERROR;
            }
            list += 8;
            at = next;
        }
        if (at % DMA_PAGE)
            return INVALID_PRP_OFFSET;
        length = bytes < DMA_PAGE ? bytes : DMA_PAGE;
    }
}

uint16_t nvme_transfer(struct nvme *nvme, uint64_t prp1, uint64_t prp2, uint8_t *data, uint32_t bytes, bool to_host)
{
    struct command *command;
    uint16_t status = INTERNAL_ERROR;

    if (bytes > 1U << NVME_MDTS << 12)
        return INVALID_FIELD;
    lock(nvme);
    command = nvme->unused;
    dma_enter(nvme->user);
    if (command && bytes) {
        status = gather(nvme, command, prp1, prp2, bytes, to_host);
        for (unsigned i = 0; i < command->parts && !status; data += command->part[i++].iov_len)
            if (to_host)
                memcpy(command->part[i].iov_base, data, command->part[i].iov_len);
            else
                memcpy(data, command->part[i].iov_base, command->part[i].iov_len);
    }
    dma_leave(nvme->user);
    unlock(nvme);
    return status;
}

static bool in_range(const struct nvme *nvme, uint64_t lba, uint64_t blocks)
{
    return lba <= nvme->blocks && blocks <= nvme->blocks - lba;
}

/* Has the storage do it; the status, or STORAGE_IN_PROGRESS as a negative number. */
static int store(struct nvme *nvme, struct command *command, enum storage_operation what, uint64_t lba, uint64_t blocks,
                 bool through)
{
    int result = storage_start(nvme->storage, what, lba << nvme->shift, blocks << nvme->shift, command->part,
                               command->parts, through, (uint64_t)(command - nvme->command));

    if (result == STORAGE_IN_PROGRESS)
        return -STORAGE_IN_PROGRESS;
    if (!result)
        return OK;
    return what == STORAGE_READ ? UNRECOVERED_READ : what == STORAGE_FLUSH ? INTERNAL_ERROR : WRITE_FAULT;
}

/* 6.7: ranges to be deallocated; they read as zeroes. */
static int manage(struct nvme *nvme, struct command *command, const struct sqe *sqe)
{
    struct { uint32_t attributes, blocks; uint64_t lba; } range[256];
    uint32_t many = (sqe->dw10 & 0xff) + 1, bytes = many * 16;
    uint8_t *to = (uint8_t *)range;
    uint16_t status = gather(nvme, command, sqe->prp1, sqe->prp2, bytes, false);
    int result = OK;

    if (status)
        return status;
    for (unsigned i = 0; i < command->parts; to += command->part[i++].iov_len)
        memcpy(to, command->part[i].iov_base, command->part[i].iov_len);
    for (uint32_t i = 0; i < many; i++)
        if (!in_range(nvme, range[i].lba, range[i].blocks))
            return LBA_OUT_OF_RANGE | NVME_DNR;
    for (uint32_t i = 0; i < many && !result && sqe->dw11 >> 2 & 1; i++)
        if (range[i].blocks)
            result = store(nvme, command, STORAGE_ZERO, range[i].lba, range[i].blocks, false);
    return result;
}

/* An I/O command: its status, or negative while it is in progress. */
static int execute(struct nvme *nvme, struct command *command, const struct sqe *sqe)
{
    uint64_t lba = sqe->dw10 | (uint64_t)sqe->dw11 << 32, blocks = (sqe->dw12 & 0xffff) + 1UL;
    bool through = (sqe->dw12 >> 30 & 1) || nvme->uncached;
    uint16_t status;

    switch (sqe->opcode) {
    case FLUSH: case WRITE: case READ: case WRITE_ZEROES: case DATASET_MANAGEMENT:
        break;
    default:
        return INVALID_OPCODE | NVME_DNR;
    }
    if (sqe->flags) /* PSDT: PRPs; FUSE: not fused; the rest is reserved */
        return INVALID_FIELD | NVME_DNR;
    if (sqe->nsid != 1 && !(sqe->opcode == FLUSH && sqe->nsid == 0xffffffff))
        return INVALID_NAMESPACE | NVME_DNR;
    if (sqe->opcode == FLUSH) {
        nvme->count.flushes++;
        return store(nvme, command, STORAGE_FLUSH, 0, 0, false);
    }
    if (sqe->opcode == DATASET_MANAGEMENT)
        return manage(nvme, command, sqe);
    command->lba = lba;
    if (sqe->opcode != WRITE_ZEROES && blocks << nvme->shift > 1UL << NVME_MDTS << 12)
        return INVALID_FIELD | NVME_DNR;
    if (!in_range(nvme, lba, blocks))
        return LBA_OUT_OF_RANGE | NVME_DNR;
    if (sqe->opcode == WRITE_ZEROES)
        return store(nvme, command, STORAGE_ZERO, lba, blocks, through);
    status = gather(nvme, command, sqe->prp1, sqe->prp2, (uint32_t)(blocks << nvme->shift), sqe->opcode == READ);
    if (status)
        return status == INVALID_PRP_OFFSET ? status | NVME_DNR : status;
    if (sqe->opcode == READ) {
        nvme->count.reads++;
        nvme->count.read_blocks += blocks;
        return store(nvme, command, STORAGE_READ, lba, blocks, through);
    }
    nvme->count.writes++;
    nvme->count.written_blocks += blocks;
    return store(nvme, command, STORAGE_WRITE, lba, blocks, through);
}

/* --- submission queues --- */

/* Takes the identifier of a command that was fetched, for which there is room to say that it is in use. */
static bool take_identifier(struct nvme *nvme, unsigned id, uint16_t cid)
{
    uint64_t *word = &nvme->sq[id].in_progress[cid / 64], bit = 1UL << cid % 64;

    if (*word & bit) { /* told, and the other one goes on */
        fail(nvme, id, cid, CID_CONFLICT | NVME_DNR, 0);
        post(nvme, id, cid, CID_CONFLICT | NVME_DNR, 0);
        return false;
    }
    *word |= bit;
    return true;
}

/* Does a command that was fetched. */
static void begin(struct nvme *nvme, unsigned id, const struct sqe *sqe)
{
    struct command *command = take_command(nvme);
    int status;

    command->sq = (uint16_t)id;
    command->cid = sqe->cid;
    command->status = 0;
    command->result = 0;
    command->lba = 0;
    command->write = sqe->opcode == WRITE;
    command->dead = false;
    command->fault = FAULT_NONE;
    if (nvme->faults.state)
        command->fault = fault_draw(&nvme->faults);
    if (command->fault == FAULT_ERROR)
        status = sqe->opcode == WRITE ? WRITE_FAULT : sqe->opcode == READ ? UNRECOVERED_READ : INTERNAL_ERROR;
    else
        status = execute(nvme, command, sqe);
    if (status < 0) {
        dma_hold(nvme->user);
        command->place = STORING;
        nvme->storing++;
        return;
    }
    command->status = (uint16_t)status;
    end_command(nvme, command);
}

/* Fetches and begins commands of a queue; how many. */
static unsigned serve(struct nvme *nvme, unsigned id)
{
    struct sq *sq = &nvme->sq[id];
    struct sqe sqe;
    unsigned done = 0;

    while (sq->head != sq->tail && done < BATCH && !nvme->fatal) {
        const void *from;

        if (id == 0 ? nvme->admin_count == BATCH : nvme->unused_count <= RESERVED || !storage_has_room(nvme->storage))
            break;
        if (nvme->cq[sq->cq].held || !has_room(nvme, sq->cq) || !dma_may_hold(nvme->user))
            break;
        from = dma_at(nvme->user, sq->iova + sq->head * 64UL, 64, false);
        if (!from) {
            stop_fatally(nvme, id);
            break;
        }
        memcpy(&sqe, from, sizeof sqe);
        if (++sq->head == sq->size)
            sq->head = 0;
        done++;
        nvme->count.commands++;
        if (!take_identifier(nvme, id, sqe.cid))
            continue;
        if (id == 0)
            nvme->admin[(nvme->admin_head + nvme->admin_count++) % BATCH] = sqe;
        else
            begin(nvme, id, &sqe);
        if (fault_removed(&nvme->faults) && !nvme->removed) {
            nvme->removed = true;
            tell(nvme, (struct nvme_event){.kind = NVME_REMOVED});
            break;
        }
    }
    return done;
}

static void take_stored(struct nvme *nvme)
{
    uint64_t tag;
    int result;

    while (storage_done(nvme->storage, &tag, &result)) {
        struct command *command = &nvme->command[tag];

        dma_release(nvme->user);
        nvme->storing--;
        if (result)
            command->status = command->write ? WRITE_FAULT : UNRECOVERED_READ;
        end_command(nvme, command);
    }
}

/* The admin queue's doorbells are always written as registers by some drivers, and only where EventIdx demands it by
 * others: demand it each time.  Those of I/O queues are demanded only before the engine sleeps. */
static void demand(struct nvme *nvme, unsigned slot, uint32_t value)
{
    volatile uint32_t *event = dma_at(nvme->user, nvme->events + slot * 4, 4, true);

    if (!event) {
        stop_fatally(nvme, slot / 2);
        return;
    }
    if (*event != value)
        __atomic_store_n(event, value, __ATOMIC_RELEASE);
}

/* Doorbells of no queue, which somebody wrote. */
static void unknown_doorbells(struct nvme *nvme)
{
    for (unsigned slot = 0; slot < 1024; slot++) {
        const volatile uint32_t *at = &nvme->doorbells[slot];

        if (*at == 0 || (slot / 2 < NVME_QUEUES && (slot % 2 ? nvme->cq[slot / 2].exists : nvme->sq[slot / 2].exists)))
            continue;
        nvme->doorbells[slot] = 0;
        nvme->count.bad_doorbells++;
        tell(nvme, (struct nvme_event){.kind = NVME_BAD_DOORBELL, .queue = (uint16_t)(0x1000 + slot * 4)});
    }
}

static bool changed(const struct nvme *nvme)
{
    for (unsigned i = 0; nvme->shared && i < NVME_CONTROL_BYTES / 4; i++)
        if (nvme->shared[i] != nvme->seen[i])
            return true;
    return false;
}

static enum nvme_why pass(struct nvme *nvme)
{
    uint64_t before = nvme->count.commands;
    unsigned served = 0, stored = nvme->storing;

    nvme->count.passes++;
    if (changed(nvme))
        return NVME_CHANGED;
    if (nvme->enabled && !nvme->fatal && !nvme->removed) {
        dma_enter(nvme->user);
        if (nvme->storing)
            take_stored(nvme);
        if (nvme->late)
            tell_late(nvme);
        for (unsigned id = 0; id < nvme->queues && !nvme->fatal; id++) {
            if (nvme->cq[id].held) {
                look_at_cq(nvme, id);
                tell_held(nvme, id);
            }
            if (!nvme->sq[id].exists)
                continue;
            look_at_sq(nvme, id);
            if (nvme->sq[id].head != nvme->sq[id].tail)
                served += serve(nvme, id);
        }
        if (nvme->shadowed && !nvme->fatal) {
            demand(nvme, 0, nvme->sq[0].tail);
            demand(nvme, 1, nvme->cq[0].head);
        }
        if (nvme->storing)
            storage_submit(nvme->storage);
        if (!served)
            for (unsigned id = 0; id < nvme->queues && !nvme->fatal; id++)
                if (nvme->cq[id].exists)
                    look_at_cq(nvme, id);
        dma_leave(nvme->user);
        for (unsigned id = 0; id < nvme->queues; id++)
            if (nvme->cq[id].raise) {
                nvme->cq[id].raise = false;
                if (nvme->cq[id].interrupts && !nvme->removed)
                    raise_vector(nvme, nvme->cq[id].vector);
            }
    } else if (nvme->storing) {
        dma_enter(nvme->user);
        storage_submit(nvme->storage);
        take_stored(nvme);
        dma_leave(nvme->user);
    }
    if (nvme->count.passes % 256 == 0 && !nvme->removed)
        unknown_doorbells(nvme);
    if (nvme->event_count)
        return NVME_TOLD;
    if (nvme->admin_count && !nvme->fatal)
        return NVME_ADMIN;
    return served || stored != nvme->storing || before != nvme->count.commands ? NVME_BUSY : NVME_IDLE;
}

enum nvme_why nvme_pass(struct nvme *nvme)
{
    enum nvme_why why;

    pthread_mutex_lock(&nvme->lock);
    why = pass(nvme);
    pthread_mutex_unlock(&nvme->lock);
    return why;
}

bool nvme_look_everywhere(struct nvme *nvme)
{
    unsigned before;

    pthread_mutex_lock(&nvme->lock);
    before = nvme->event_count;
    if (!nvme->removed)
        unknown_doorbells(nvme);
    before = nvme->event_count - before;
    pthread_mutex_unlock(&nvme->lock);
    return before;
}

/* Before a sleep that only a trapped doorbell ends: has the driver write these registers, and looks whether it did not
 * do so just before it could know (5.7: EventIdx).  Whether all is quiet. */
static bool quiet(struct nvme *nvme)
{
    bool all = true;

    dma_enter(nvme->user);
    for (unsigned id = 1; id < nvme->queues && nvme->shadowed && !nvme->fatal; id++) {
        if (nvme->sq[id].exists)
            demand(nvme, 2 * id, nvme->sq[id].tail);
        if (nvme->cq[id].exists)
            demand(nvme, 2 * id + 1, nvme->cq[id].head);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (unsigned id = 0; id < nvme->queues && nvme->enabled && !nvme->fatal; id++)
        if (nvme->sq[id].exists && doorbell_value(nvme, 2 * id) != nvme->sq[id].tail)
            all = false;
    dma_leave(nvme->user);
    return all;
}

/* How long the engine may sleep: not beyond what is told late. */
static uint64_t may_sleep(const struct nvme *nvme, uint64_t most)
{
    uint64_t time = nvme->late ? now() : 0;

    for (const struct command *command = nvme->late; command; command = command->next)
        if (command->due < time + most)
            most = command->due > time ? command->due - time : 1;
    return most;
}

enum nvme_why nvme_run(struct nvme *nvme, uint64_t sleep_ns, bool polled)
{
    uint64_t sleep = 1000, idle_since = 0;

    for (unsigned idle = 0;; idle++) {
        uint32_t wake = __atomic_load_n(&nvme->wake, __ATOMIC_ACQUIRE);
        enum nvme_why why = nvme_pass(nvme);

        if (__atomic_exchange_n(&nvme->asked, 0, __ATOMIC_ACQ_REL))
            return NVME_STOPPED;
        if (why != NVME_IDLE && why != NVME_BUSY)
            return why;
        if (__atomic_load_n(&nvme->wanted, __ATOMIC_RELAXED)) /* a mutex alone is taken again before they wake */
            usleep(1);
        if (why == NVME_BUSY) {
            idle = 0;
            sleep = 1000;
            continue;
        }
        __builtin_ia32_pause();
        if (!sleep_ns || idle % 64)
            continue;
        if (idle && nvme->storing) { /* the next to happen, most likely; new commands wait for it, but not long */
            storage_wait(nvme->storage, STORING_WAIT);
            continue;
        }
        if (idle == 0 || !idle_since || idle == 64)
            idle_since = now();
        if (now() - idle_since < (polled ? 50000 : 5000))
            continue;
        pthread_mutex_lock(&nvme->lock);
        if (polled || quiet(nvme)) {
            uint64_t longest = may_sleep(nvme, polled ? sleep : sleep_ns);
            struct timespec time = {(time_t)(longest / 1000000000), (long)(longest % 1000000000)};

            pthread_mutex_unlock(&nvme->lock);
            syscall(SYS_futex, &nvme->wake, FUTEX_WAIT_PRIVATE, wake, &time, NULL, 0);
            sleep = sleep * 2 < sleep_ns ? sleep * 2 : sleep_ns;
        } else {
            pthread_mutex_unlock(&nvme->lock);
        }
    }
}

void nvme_rest(struct nvme *nvme, uint64_t ns)
{
    if (nvme->storing)
        storage_wait(nvme->storage, ns);
}

static void wake(struct nvme *nvme)
{
    __atomic_fetch_add(&nvme->wake, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &nvme->wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void nvme_interrupt_run(struct nvme *nvme)
{
    __atomic_store_n(&nvme->asked, 1, __ATOMIC_RELEASE);
    wake(nvme);
}

void nvme_doorbell(struct nvme *nvme, uint32_t offset, uint32_t size, uint32_t value)
{
    unsigned slot = offset / 4, id = slot / 2;

    lock(nvme);
    if (offset % 4 || size != 4 || id >= NVME_QUEUES || !(slot % 2 ? nvme->cq[id].exists : nvme->sq[id].exists)) {
        nvme->count.bad_doorbells++;
        tell(nvme, (struct nvme_event){.kind = NVME_BAD_DOORBELL, .queue = (uint16_t)(0x1000 + offset),
                                       .value = value});
    } else if (!nvme->shadowed || id == 0) { /* at once: two writes must not become one */
        nvme->doorbells[slot] = value;
        if (slot % 2)
            look_at_cq(nvme, id);
        else
            look_at_sq(nvme, id);
    }
    unlock(nvme);
    wake(nvme);
}

/* --- what model.py asks for --- */

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
        free_command(nvme, &nvme->command[i]);
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

/* Data that moves for commands of a queue that is going is waited for: a device that was reset does not write memory. */
static void wait_for_dead(struct nvme *nvme, unsigned id)
{
    for (bool moving = true; moving;) {
        dma_enter(nvme->user);
        storage_submit(nvme->storage);
        take_stored(nvme);
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
            free_command(nvme, command);
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
        raise_vector(nvme, vector);
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
        command = take_command(nvme);
        command->sq = 0;
        command->cid = cid;
        command->status = status;
        command->result = result;
        command->lba = 0;
        command->dead = false;
        command->fault = FAULT_NONE;
        dma_enter(nvme->user);
        tell_command(nvme, command);
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
        tell_command(nvme, command);
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
