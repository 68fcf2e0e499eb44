/* What the two halves of the driver share: driver.c, the controller, and requests.c, what is asked of it. */
#ifndef DISK_INSIDE_H
#define DISK_INSIDE_H

#include <string.h>

#include "driver.h"

enum { CAP = 0x00, VS = 0x08, INTMS = 0x0c, CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30 };

#define DOORBELLS 0x1000
#define CC_ENABLE (1 | 6 << 16 | 4 << 20) /* pages of 4 KiB, entries of 64 and 16 bytes */
#define CC_SHUTDOWN (1 << 14)
#define CSTS_READY 1u
#define CSTS_FATAL 2u
#define CSTS_SHUT_DOWN (2u << 2)
#define GONE 0xffffffffu

enum { DELETE_SQ = 0x00, CREATE_SQ = 0x01, DELETE_CQ = 0x04, CREATE_CQ = 0x05, IDENTIFY = 0x06, ABORT = 0x08,
       SET_FEATURES = 0x09, DOORBELL_BUFFERS = 0x7c };
enum { FLUSH = 0x00, WRITE = 0x01, READ = 0x02, WRITE_ZEROES = 0x08, DATASET_MANAGEMENT = 0x09 };

#define NUMBER_OF_QUEUES 0x07
#define OACS_SHADOW (1u << 8)
#define DO_NOT_REPEAT 0x4000u
#define ABORT_REQUESTED 0x07u
#define SLOT_BITS 8 /* of a command identifier; the others are a generation, by which late completions are known */
#define ADMIN_SIZE 32
#define LOOK_EVERY 256 /* polls in vain, before timeouts are looked at */

_Static_assert(DISK_DEPTH <= 1 << SLOT_BITS, "a slot is named by these bits");

struct sqe {
    uint32_t dw0, nsid;
    uint64_t reserved, metadata, prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};

_Static_assert(sizeof(struct sqe) == 64, "as in 4.2");

/* Rings as after a reset. */
void disk_restart_queue(struct disk_queue *queue);

/* Whether registers read as all ones. */
bool disk_is_gone(struct disk *disk);

/* An admin command, to its end; its completion's dword 0 in *result, which may be NULL.  0, -DEVICE_EIO with *status
 * (which may be NULL), or another error. */
int disk_run_admin(struct disk *disk, struct sqe *sqe, uint32_t *result, uint16_t *status);

/* From a controller that may be in any state to one whose admin queue works; then all that comes after. */
int disk_enable(struct disk *disk);
int disk_set_up(struct disk *disk);

/* Whether the device asked to be told, of a value between these two (5.7). */
static inline bool asked_for(uint32_t event, uint32_t new, uint32_t old)
{
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static inline void ring(struct disk_queue *queue, volatile uint32_t *at, volatile uint32_t *shadow,
                 const volatile uint32_t *event, uint32_t new, uint32_t old)
{
    if (shadow) {
        memory_write_last(shadow, new);
        memory_fence(); /* the shadow is there before EventIdx is read: the device does the same the other way round */
        if (queue->id && !asked_for(*event, new, old))
            return;
    }
    queue->disk->count.doorbells++;
    register_write(at, 0, new);
}

static inline void ring_tail(struct disk_queue *queue, uint32_t old)
{
    ring(queue, queue->tail_register, queue->tail_shadow, queue->tail_event, queue->tail, old);
}

static inline void ring_head(struct disk_queue *queue, uint32_t old)
{
    ring(queue, queue->head_register, queue->head_shadow, queue->head_event, queue->head, old);
}

/* Puts an entry at the tail.  All of it is there before the doorbell, which is a later store. */
static inline void put(struct disk_queue *queue, const struct sqe *sqe)
{
    memcpy((void *)(queue->sq + queue->tail * 16), sqe, sizeof *sqe);
    if (++queue->tail == queue->size)
        queue->tail = 0;
}

/* The next completion: false if there is none.  Its phase is read before the rest. */
static inline bool take(struct disk_queue *queue, uint32_t *result, uint32_t *last)
{
    const volatile uint32_t *entry = queue->cq + queue->head * 4;

    *last = memory_read_first(entry + 3);
    if ((*last >> 16 & 1) != queue->phase)
        return false;
    *result = entry[0];
    if (++queue->head == queue->size) {
        queue->head = 0;
        queue->phase ^= 1;
    }
    return true;
}

#endif
