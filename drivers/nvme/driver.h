/* A driver for NVMe controllers (NVM Express 1.4): the first namespace as a disk of blocks.
 *
 * Requests are submitted in batches to one of several queue pairs, and taken when they are done: by polling, which
 * makes no call of the system, or after waiting for an interrupt.  Memory is device_memory, named by its iova.
 *
 * What goes wrong is dealt with in bounded time: a command that the controller failed, and does not forbid to repeat,
 * is tried again, DISK_ATTEMPTS times in all; one that is not answered within the timeout is aborted, and if that does
 * not help, the controller is reset and all requests are submitted again.  A request always ends, with 0 or an error.
 * Nothing that a controller says is believed where it would lead out of the driver's memory.
 *
 * A struct disk belongs to one thread at a time. */
#ifndef DISK_H
#define DISK_H

#include "device.h"

/* cffi: begin */
#define DISK_QUEUES 8
#define DISK_DEPTH 256   /* entries of a queue; one less can be in progress */
#define DISK_ATTEMPTS 6

enum disk_operation { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_ZERO, DISK_DISCARD };

/* What is to be done.  The first part is the caller's, and stays as it is until the request is done. */
struct disk_request {
    enum disk_operation operation;
    bool through;          /* written to what stays without power before it is done */
    uint64_t lba;
    uint32_t blocks;       /* up to disk.most / disk.block for reading and writing, 65536 for zeroes; not for a flush */
    uint64_t iova;         /* of the data; 4-byte aligned */
    const uint64_t *pages; /* NULL: the data is contiguous; else the iovas of the pages after the first */
    void *own;             /* the caller's own */

    int result;      /* when done: 0, or a negative error number */
    uint16_t status; /* what the controller said last: type in bits 10:8, code in bits 7:0, bit 14: do not repeat */
    uint8_t attempts;
    struct disk_request *next; /* the driver's own */
};

/* How it is to be opened; zeroes are a good choice. */
struct disk_options {
    unsigned queues;     /* pairs for I/O, 1 to DISK_QUEUES; 0: 1 */
    unsigned depth;      /* entries of each, 2 to DISK_DEPTH; 0: DISK_DEPTH */
    uint64_t timeout_ms; /* for a command; 0: 2000 */
    bool interrupts;     /* whether disk_wait is to be used */
    bool no_shadow;      /* not to use doorbell buffers, even if the controller has them */
};

/* What happened so far. */
struct disk_counts {
    uint64_t submitted, done, failed, retried, timeouts, aborts, resets, strays, doorbells;
};
/* cffi: end */

struct disk_slot {
    struct disk_request *request; /* NULL: free */
    uint64_t started;             /* device_ticks() */
    uint16_t generation;
    bool aborting;
};

struct disk_queue {
    struct disk *disk;
    unsigned id, size;
    struct device_memory rings, lists;
    volatile uint32_t *sq, *cq;
    volatile uint32_t *tail_register, *head_register;
    volatile uint32_t *tail_shadow, *head_shadow, *tail_event, *head_event; /* NULL: none */
    unsigned tail, head;
    uint32_t phase;
    unsigned free_count;
    uint16_t free[DISK_DEPTH];
    struct disk_slot slot[DISK_DEPTH];
    struct disk_request *again, *ended; /* to be submitted again; done without a completion */
    unsigned idle;                      /* polls in vain */
    uint64_t looked;                    /* when timeouts were looked at */
};

struct disk {
    struct device *device;
    volatile void *registers, *doorbells;
    struct disk_options options;
    uint64_t capabilities, blocks; /* blocks: of the namespace */
    uint32_t block, most; /* bytes of a block, of a command's data at most */
    uint16_t vendor;
    char serial[21], model[41], firmware[9];
    bool write_cache, shadowed, gone;
    unsigned queues;
    uint64_t timeout, ready; /* ticks */
    struct disk_counts count;
    struct device_memory page, shadow;
    struct disk_queue admin, queue[DISK_QUEUES];
};

/* Brings the controller up (7.6.1).  0, or a negative error number; then nothing is left open, but the device itself,
 * which stays the caller's. */
int disk_open(struct disk *disk, struct device *device, const struct disk_options *options);

/* Shuts it down (7.6.2): all that was written stays.  Requests that are in progress are lost.  0 or an error. */
int disk_close(struct disk *disk);

/* Submits requests to a queue, with one doorbell.  How many: fewer when the queue is full.  A request that is not valid
 * is taken and ends with -DEVICE_EINVAL. */
unsigned disk_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count);

/* Takes requests that are done, up to `most`.  How many. */
unsigned disk_poll(struct disk_queue *queue, struct disk_request **done, unsigned most);

/* Waits for an interrupt, at most this long; then disk_poll tells what is done.  0 or an error of device_wait. */
int disk_wait(struct disk_queue *queue, uint64_t timeout_ns);

/* Requests in progress. */
unsigned disk_in_progress(const struct disk_queue *queue);

/* One request, to its end; its result.  With disk.options.interrupts it sleeps meanwhile. */
int disk_do(struct disk_queue *queue, struct disk_request *request);

#endif
