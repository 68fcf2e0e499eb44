/* What a driver sees of its device: registers, memory that the device can reach, interrupts, time.
 *
 * A driver includes this and nothing else, and is linked with one of two implementations:
 *   machine.c   a native program in ring 3 of an aerostat machine; the device is passed through or modelled, which the
 *               driver cannot tell
 *   outside.c   a plain Linux program; registers and memory are files that a model shares (aerostat model ...), or
 *               memory of the same process
 *
 * Functions return 0, or a count, or a negative error number as Linux's errno has them.  None of them blocks except
 * device_wait.  A device and its memory belong to one thread at a time. */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_PAGE 4096UL

/* Errors that drivers return, beside what an implementation passes on from below. */
#define DEVICE_EIO 5         /* the device said that it failed, or did what it must not do */
#define DEVICE_ENXIO 6       /* no device of that name */
#define DEVICE_EAGAIN 11     /* no room now: take completions first */
#define DEVICE_ENOMEM 12     /* no memory */
#define DEVICE_EBUSY 16      /* in use */
#define DEVICE_ENODEV 19     /* the device is gone: its registers read as all ones */
#define DEVICE_EINVAL 22     /* an argument that is not valid */
#define DEVICE_ETIMEDOUT 110 /* the device did not answer in time */

/* Memory that both the program and the device reach, in whole pages; at first all zero. */
struct device_memory {
    void *at;      /* where the program finds it */
    uint64_t iova; /* where the device finds it */
    uint64_t size; /* in bytes, a multiple of DEVICE_PAGE */
};

struct device {
    uint16_t vendor, product;
    unsigned vectors;  /* interrupts that it can have, 0 for none */
    uint64_t per_us;   /* device_ticks() in a microsecond, at least 1 */
    void *inside;      /* the implementation's own */
};

/* Opens the device that this name has for the implementation: in a machine the name by which the machine's description
 * or `aerostat run --device` calls it; outside the files that are shared, "BAR:MEMORY" or "BAR:MEMORY:INTERRUPTS". */
int device_open(struct device *device, const char *name);

/* Takes the device from all memory and gives everything back. */
void device_close(struct device *device);

/* Resets the function as a whole, where that is possible; -DEVICE_EINVAL where not. */
int device_reset(struct device *device);

/* The registers at offset .. offset + size of a region (the number of a BAR); both page aligned.  NULL: there are none.
 * Repeated calls for the same place are the same registers. */
volatile void *device_registers(struct device *device, unsigned region, uint64_t offset, uint64_t size);

/* Makes `size` bytes, rounded up to pages, of memory for both, contiguous in the program and for the device. */
int device_memory_make(struct device *device, uint64_t size, struct device_memory *memory);

/* Gives it back: when this returns the device can no longer reach it. */
void device_memory_end(struct device *device, struct device_memory *memory);

/* Waits for interrupts, of whichever vector, at most `timeout` nanoseconds.  How many came since the last call, 0 when
 * none did in time; -DEVICE_EINVAL: the device has none. */
int64_t device_wait(struct device *device, uint64_t timeout);

/* Writes a line for the person at the terminal. */
void device_say(const char *line);

/* Processor ticks that go on at the same rate, device.per_us in a microsecond. */
static inline uint64_t device_ticks(void)
{
    return __builtin_ia32_rdtsc();
}

/* For a loop that looks at memory which another processor, or a device, writes. */
static inline void device_pause(void)
{
    __builtin_ia32_pause();
}

/* Registers, as one access each that the compiler neither splits nor repeats.  On x86 a store to a register is not done
 * before stores to memory that come before it in the program: what must not happen is that the compiler exchanges them,
 * hence the barriers.  A 64-bit register is written as two halves, the lower first, as any device takes it. */
static inline uint32_t register_read(volatile void *base, uint64_t offset)
{
    uint32_t value = *(volatile uint32_t *)((volatile char *)base + offset);

    __asm__ volatile("" ::: "memory");
    return value;
}

static inline void register_write(volatile void *base, uint64_t offset, uint32_t value)
{
    __asm__ volatile("" ::: "memory");
    *(volatile uint32_t *)((volatile char *)base + offset) = value;
}

static inline uint64_t register_read64(volatile void *base, uint64_t offset)
{
    uint64_t low = register_read(base, offset);

    return low | (uint64_t)register_read(base, offset + 4) << 32;
}

static inline void register_write64(volatile void *base, uint64_t offset, uint64_t value)
{
    register_write(base, offset, (uint32_t)value);
    register_write(base, offset + 4, (uint32_t)(value >> 32));
}

/* Memory that a device writes: what is read after this was written before. */
static inline uint32_t memory_read_first(const volatile uint32_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* Memory that a device reads: what was written before is there when this is. */
static inline void memory_write_last(volatile uint32_t *at, uint32_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* Between a store and a load that must not overtake it. */
static inline void memory_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
