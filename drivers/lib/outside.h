/* A device outside a machine, in the same process: what outside.c needs of it beside device.h. */
#ifndef OUTSIDE_H
#define OUTSIDE_H

#include "device.h"

#define OUTSIDE_REGIONS 6
#define OUTSIDE_VECTORS 64

/* What the model and the program share.  A file of interrupts has one 32-bit count a vector, which the model increases
 * before the word after the counts, whose futex it wakes then. */
struct outside {
    void *registers[OUTSIDE_REGIONS];
    uint64_t registers_size[OUTSIDE_REGIONS];
    uint8_t *memory; /* the device finds its first byte at iova_base */
    uint64_t memory_size;
    uint64_t iova_base;
    volatile uint32_t *interrupts; /* OUTSIDE_VECTORS counts and one word of all; NULL for none */
};

/* As device_open, on memory that is there already.  The device keeps no reference to `shared`. */
int device_open_shared(struct device *device, const struct outside *shared);

#endif
