/* What the parts of the engine share: its state, and what one does for another.  Sections are those of the NVM Express
 * base specification, revision 1.4.  All of it is used with the engine's lock held. */
#ifndef NVME_INSIDE_H
#define NVME_INSIDE_H

#include <pthread.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "engine.h"

#define COMMANDS 1024 /* of all queues, in progress at once */
#define RESERVED 64   /* of these, for completions of admin commands */
#define BATCH 32      /* of one queue, before the next has its turn */
#define PARTS ((1 << NVME_MDTS) + 1)
#define EVENTS 256
#define NOTHING (~0UL)
#define STORING_WAIT 50000          /* ns, at first */
#define LONGEST_STORING_WAIT 400000 /* for which a new command may wait, where its doorbell is polled */
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

static inline void lock(struct nvme *nvme)
{
    __atomic_fetch_add(&nvme->wanted, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&nvme->lock);
    __atomic_fetch_sub(&nvme->wanted, 1, __ATOMIC_RELAXED);
}

static inline void unlock(struct nvme *nvme)
{
    pthread_mutex_unlock(&nvme->lock);
}

static inline uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* completions.c */
void nvme_tell(struct nvme *nvme, struct nvme_event event);
void nvme_stop_fatally(struct nvme *nvme, unsigned queue);
void nvme_raise_vector(struct nvme *nvme, unsigned vector);
uint32_t nvme_doorbell_value(struct nvme *nvme, unsigned slot);
void nvme_look_at_cq(struct nvme *nvme, unsigned id);
void nvme_look_at_sq(struct nvme *nvme, unsigned id);
void nvme_post_entry(struct nvme *nvme, unsigned sqid, uint16_t cid, uint16_t status, uint32_t result);
void nvme_free_command(struct nvme *nvme, struct command *command);
struct command *nvme_take_command(struct nvme *nvme);
bool nvme_has_room(struct nvme *nvme, unsigned id);
void nvme_fail(struct nvme *nvme, unsigned sq, uint16_t cid, uint16_t status, uint64_t lba);
void nvme_tell_command(struct nvme *nvme, struct command *command);
void nvme_tell_held(struct nvme *nvme, unsigned id);
void nvme_end_command(struct nvme *nvme, struct command *command);
void nvme_tell_late(struct nvme *nvme);
/* commands.c */
int nvme_execute(struct nvme *nvme, struct command *command, const struct sqe *sqe);
/* engine.c */
void nvme_take_stored(struct nvme *nvme);

#endif
