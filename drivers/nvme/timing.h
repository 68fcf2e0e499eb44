/* The driver in the process of the model, for benchmarks: on one core, in turns with the engine, or with the engine on
 * a thread of its own. */
#ifndef NVME_TIMING_H
#define NVME_TIMING_H

#include "driver.h"
#include "engine.h"

/* cffi: begin */
struct linked_disk;

struct nvme_timing {
    uint64_t operations, submit, poll, model; /* ticks of the time stamp counter */
    uint64_t ticks, doorbells;
    uint64_t per_us; /* ticks in a microsecond */
};

/* Brings a controller up whose registers and memory are memory of this process, while a thread runs its engine.
 * NULL, with *error a negative error number. */
struct linked_disk *linked_disk_open(void *registers, uint64_t registers_size, void *memory, uint64_t memory_size,
                                     uint64_t iova, const struct disk_options *options, int *error);
int linked_disk_close(struct linked_disk *linked);

/* `rounds` batches of random blocks of 4 KiB: submitted, done by `engine` on this very core, polled.  What the driver's
 * two calls take is added up.  The engine's thread does not run.  0 or an error. */
int linked_disk_in_turns(struct linked_disk *linked, struct nvme *engine, bool write, unsigned batch, uint64_t rounds,
                         struct nvme_timing *timing);

/* For so many milliseconds `depth` random blocks of 4 KiB are in progress.  `engine`: run on this core, NULL: a thread
 * runs it.  0 or an error. */
int linked_disk_at_depth(struct linked_disk *linked, struct nvme *engine, bool write, unsigned depth, uint64_t ms,
                         struct nvme_timing *timing);
/* cffi: end */

#endif
