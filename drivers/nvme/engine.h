/* The data path of the NVMe model: queues, PRPs, commands of the NVM command set.  Registers and admin commands are
 * model.py's.
 *
 * One pass of the engine (nvme_pass) looks at the doorbells, fetches commands, moves data and posts completions.  All
 * functions may come from any thread; a lock makes them wait for each other.  What the guest wrote is read once. */
#ifndef NVME_ENGINE_H
#define NVME_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "dma.h"
#include "faults.h"
#include "storage.h"

/* cffi: begin */
#define NVME_QUEUES 65       /* the admin queue and 64 for I/O */
#define NVME_VECTORS 64
#define NVME_MDTS 7          /* a command moves 2^7 pages at most */
#define NVME_CONTROL_BYTES 64

/* Status: type in bits 10:8, code in bits 7:0; NVME_DNR: it will fail again. */
#define NVME_DNR 0x4000

enum nvme_why {
    NVME_IDLE,    /* nothing was to do */
    NVME_BUSY,    /* something was done */
    NVME_ADMIN,   /* an admin command waits: nvme_admin_take */
    NVME_TOLD,    /* an event waits: nvme_event_take */
    NVME_CHANGED, /* somebody wrote registers that are shared memory */
    NVME_STOPPED  /* nvme_run was asked to return */
};

enum nvme_event_kind {
    NVME_BAD_DOORBELL = 1, /* of a queue that is not there, or misaligned: queue is the register's offset */
    NVME_BAD_VALUE,        /* of a doorbell: value */
    NVME_STATUS,           /* a command of queue failed: cid, status, lba */
    NVME_FATAL,            /* a queue cannot be reached: the controller stops */
    NVME_REMOVED           /* removed by surprise */
};

struct nvme_event {
    uint16_t kind, queue, cid, status;
    uint32_t value;
    uint64_t lba;
};

struct nvme_counts {
    uint64_t commands, reads, writes, read_blocks, written_blocks, flushes, errors;
    uint64_t dma_faults, interrupts, passes, doorbells, bad_doorbells, events_lost;
};

struct nvme;

/* An engine on a domain's memory, with a namespace of so many blocks of so many bytes.  `doorbells` is a page: the
 * registers at 0x1000, that somebody else writes too.
 * NULL: no memory. */
struct nvme *nvme_make(struct dma_map *map, volatile uint32_t *doorbells, struct storage *storage, uint64_t blocks,
                       uint32_t block);

/* Ends it; nobody runs it any more.  The storage stays. */
void nvme_end(struct nvme *nvme);

/* Registers that are shared memory: a pass says NVME_CHANGED when the first NVME_CONTROL_BYTES at `shared` are not as
 * at `seen`.  NULL: none are. */
void nvme_watch(struct nvme *nvme, const volatile uint32_t *shared, const uint32_t *seen);

/* The controller is enabled with these admin queues, in entries, or as after reset: when nvme_stop returns no queue is
 * there and no data moves.  False, here and below: no memory. */
bool nvme_start(struct nvme *nvme, uint64_t sq, uint32_t sq_size, uint64_t cq, uint32_t cq_size);
void nvme_stop(struct nvme *nvme);

/* Queues, whose numbers and sizes were checked; nvme_sq_end returns when no data of its commands moves. */
void nvme_cq_make(struct nvme *nvme, unsigned id, uint64_t iova, uint32_t size, unsigned vector, bool interrupts);
bool nvme_sq_make(struct nvme *nvme, unsigned id, uint64_t iova, uint32_t size, unsigned cq);
void nvme_cq_end(struct nvme *nvme, unsigned id);
void nvme_sq_end(struct nvme *nvme, unsigned id);
bool nvme_sq_exists(struct nvme *nvme, unsigned id);
bool nvme_cq_exists(struct nvme *nvme, unsigned id);
/* Submission queues of a completion queue. */
unsigned nvme_cq_users(struct nvme *nvme, unsigned id);

/* Doorbell buffers; false: they cannot be reached. */
bool nvme_shadow(struct nvme *nvme, uint64_t shadow, uint64_t events);

/* Where interrupts go: an eventfd, or -1, for each vector; and counts in shared memory (see drivers/lib/outside.h), or
 * NULL. */
void nvme_interrupts(struct nvme *nvme, const int *eventfds, volatile uint32_t *counts);
void nvme_vector_mask(struct nvme *nvme, unsigned vector, bool masked);
uint64_t nvme_pending(struct nvme *nvme);

/* The next admin command, 64 bytes; false: none.  Its completion: dword 0 of the result, and status. */
bool nvme_admin_take(struct nvme *nvme, uint8_t *into);
void nvme_admin_done(struct nvme *nvme, uint16_t cid, uint16_t status, uint32_t result);

/* Ends a command that is in progress, if it can be: it is told with status 7.  Whether it was. */
bool nvme_abort(struct nvme *nvme, unsigned queue, uint16_t cid);

/* Moves data of an admin command by its PRPs; 0 or a status. */
uint16_t nvme_transfer(struct nvme *nvme, uint64_t prp1, uint64_t prp2, uint8_t *data, uint32_t bytes, bool to_host);

bool nvme_event_take(struct nvme *nvme, struct nvme_event *into);
void nvme_counts(struct nvme *nvme, struct nvme_counts *into);
struct faults *nvme_faults(struct nvme *nvme);

/* Whether writes may wait for a flush (the feature of 5.21.1.6).  The device is gone from now on. */
void nvme_write_cache(struct nvme *nvme, bool enabled);
void nvme_remove(struct nvme *nvme);

/* Waits for data on its way and flushes the storage, as a shutdown does. */
void nvme_flush(struct nvme *nvme);

/* A write to the doorbell page at this offset, where writes are trapped. */
void nvme_doorbell(struct nvme *nvme, uint32_t offset, uint32_t size, uint32_t value);

/* One pass.  Doorbells of no queue are looked at now and then only, or by the second; whether there was one. */
enum nvme_why nvme_pass(struct nvme *nvme);
bool nvme_look_everywhere(struct nvme *nvme);

/* Passes until there is something for the caller.  Where nothing happens for long it sleeps, longer and longer, up to
 * `sleep_ns` at a time; 0: it never sleeps.  `polled`: false where all doorbells are trapped, which end the sleep. */
enum nvme_why nvme_run(struct nvme *nvme, uint64_t sleep_ns, bool polled);

/* For who does the passes himself: waits for data of a file that is on its way, at most so long. */
void nvme_rest(struct nvme *nvme, uint64_t ns);

/* Has nvme_run return NVME_STOPPED, once; from any thread. */
void nvme_interrupt_run(struct nvme *nvme);
/* cffi: end */

#endif
