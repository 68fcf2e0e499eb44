/* A driver's device in a plain Linux program: registers, memory and interrupts are shared with a model, as files or as
 * memory of the same process.  Nothing traps: the model looks at what is written. */
#define _GNU_SOURCE
#include "outside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct inside {
    struct outside shared;
    uint8_t *in_use; /* a byte a page of memory */
    uint32_t seen;   /* interrupts that device_wait has told of, of all vectors */
    bool mapped;     /* the files are ours to unmap */
};

static uint64_t nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Ticks in a microsecond, from 2 ms of both clocks. */
static uint64_t rate_of_ticks(void)
{
    static uint64_t rate;
    uint64_t start = nanoseconds(), ticks = device_ticks(), took;

    if (rate)
        return rate;
    do
        took = nanoseconds() - start;
    while (took < 2000000);
    rate = (device_ticks() - ticks) * 1000 / took;
    return rate ? rate : 1;
}

int device_open_shared(struct device *device, const struct outside *shared)
{
    struct inside *inside = calloc(1, sizeof *inside);

    if (!inside)
        return -ENOMEM;
    inside->shared = *shared;
    inside->in_use = calloc(1, shared->memory_size / DEVICE_PAGE + 1);
    if (!inside->in_use) {
        free(inside);
        return -ENOMEM;
    }
    if (shared->interrupts)
        inside->seen = shared->interrupts[OUTSIDE_VECTORS];
    /* Address 0 would be memory as well, but drivers and devices take 0 for "none". */
    if (shared->iova_base == 0)
        inside->in_use[0] = 1;
    *device = (struct device){
        .vectors = shared->interrupts ? OUTSIDE_VECTORS : 0, .per_us = rate_of_ticks(), .inside = inside};
    return 0;
}

/* The whole file, mapped; NULL with errno set. */
static void *map_file(const char *path, size_t length, uint64_t *size)
{
    char name[4096];
    struct stat status;
    void *at;
    int fd;

    if (length == 0 || length >= sizeof name) {
        errno = EINVAL;
        return NULL;
    }
    memcpy(name, path, length);
    name[length] = 0;
    fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) || status.st_size < (off_t)DEVICE_PAGE) {
        if (fd >= 0) {
            close(fd);
            errno = EINVAL;
        }
        return NULL;
    }
    *size = (uint64_t)status.st_size & ~(DEVICE_PAGE - 1);
    at = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

int device_open(struct device *device, const char *name)
{
    struct outside shared = {0};
    const char *memory = strchr(name, ':'), *interrupts = memory ? strchr(memory + 1, ':') : NULL;
    uint64_t size;
    int result;

    if (!memory)
        return -DEVICE_ENXIO;
    shared.registers[0] = map_file(name, (size_t)(memory - name), &shared.registers_size[0]);
    if (!shared.registers[0])
        return -errno;
    memory++;
    shared.memory = map_file(memory, interrupts ? (size_t)(interrupts - memory) : strlen(memory), &shared.memory_size);
    if (!shared.memory)
        return -errno;
    if (interrupts) {
        shared.interrupts = map_file(interrupts + 1, strlen(interrupts + 1), &size);
        if (!shared.interrupts)
            return -errno;
    }
    result = device_open_shared(device, &shared);
    if (result == 0)
        ((struct inside *)device->inside)->mapped = true;
    return result;
}

void device_close(struct device *device)
{
    struct inside *inside = device->inside;

    if (inside->mapped) {
        munmap(inside->shared.registers[0], inside->shared.registers_size[0]);
        munmap(inside->shared.memory, inside->shared.memory_size);
        if (inside->shared.interrupts)
            munmap((void *)inside->shared.interrupts, DEVICE_PAGE);
    }
    free(inside->in_use);
    free(inside);
    device->inside = NULL;
}

int device_reset(struct device *device)
{
    (void)device; /* there is no configuration space outside */
    return -DEVICE_EINVAL;
}

volatile void *device_registers(struct device *device, unsigned region, uint64_t offset, uint64_t size)
{
    const struct outside *shared = &((struct inside *)device->inside)->shared;

    if (region >= OUTSIDE_REGIONS || offset > shared->registers_size[region])
        return NULL;
    if (size > shared->registers_size[region] - offset)
        return NULL;
    return (volatile char *)shared->registers[region] + offset;
}

int device_memory_make(struct device *device, uint64_t size, struct device_memory *memory)
{
    struct inside *inside = device->inside;
    uint64_t all = inside->shared.memory_size / DEVICE_PAGE, run = 0;
    uint64_t pages = (size + DEVICE_PAGE - 1) / DEVICE_PAGE;

    if (size == 0 || pages > all)
        return size ? -DEVICE_ENOMEM : -DEVICE_EINVAL;
    for (uint64_t page = 0; page < all; page++) {
        run = inside->in_use[page] ? 0 : run + 1;
        if (run == pages) {
            uint64_t first = page + 1 - pages;

            memset(inside->in_use + first, 1, pages);
            memory->at = inside->shared.memory + first * DEVICE_PAGE;
            memory->iova = inside->shared.iova_base + first * DEVICE_PAGE;
            memory->size = pages * DEVICE_PAGE;
            memset(memory->at, 0, memory->size);
            return 0;
        }
    }
    return -DEVICE_ENOMEM;
}

void device_memory_end(struct device *device, struct device_memory *memory)
{
    struct inside *inside = device->inside;

    if (memory->size == 0)
        return;
    memset(inside->in_use + (memory->iova - inside->shared.iova_base) / DEVICE_PAGE, 0, memory->size / DEVICE_PAGE);
    *memory = (struct device_memory){0};
}

int64_t device_wait(struct device *device, uint64_t timeout)
{
    struct inside *inside = device->inside;
    volatile uint32_t *counts = inside->shared.interrupts;
    uint64_t end = nanoseconds() + timeout, now;

    if (!counts)
        return -DEVICE_EINVAL;
    for (;;) {
        uint32_t all = __atomic_load_n(&counts[OUTSIDE_VECTORS], __ATOMIC_ACQUIRE);

        if (all != inside->seen) {
            uint32_t more = all - inside->seen;

            inside->seen = all;
            return more;
        }
        now = nanoseconds();
        if (now >= end)
            return 0;
        /* The word after the counts changes with each of them: one futex for all vectors. */
        syscall(SYS_futex, &counts[OUTSIDE_VECTORS], FUTEX_WAIT, all,
                &(struct timespec){(time_t)((end - now) / 1000000000), (long)((end - now) % 1000000000)}, NULL, 0);
    }
}

void device_say(const char *line)
{
    fputs(line, stdout);
    fputc('\n', stdout);
    fflush(stdout);
}
