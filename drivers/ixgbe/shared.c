/* The driver in the process of a model: opening it there, and work to time. */
#define _GNU_SOURCE
#include "shared.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "outside.h"

struct nic *nic_shared_open(void *registers, void *memory, uint64_t size, uint64_t base, uint32_t *interrupts,
                            const struct nic_options *options, int *error)
{
    struct outside shared = {.registers = {registers}, .registers_size = {IXGBE_BAR}, .memory = memory,
                             .memory_size = size, .iova_base = base, .interrupts = interrupts};
    struct nic *nic = aligned_alloc(64, (sizeof *nic + 63) & ~63UL);
    struct device device;

    if (!nic)
        return NULL;
    *error = device_open_shared(&device, &shared);
    if (!*error) {
        *error = nic_open(nic, &device, options);
        if (*error)
            device_close(&device);
    }
    if (*error) {
        free(nic);
        return NULL;
    }
    return nic;
}

void nic_shared_close(struct nic *nic)
{
    nic_close(nic);
    free(nic);
}

uint64_t nic_ticks(void)
{
    return device_ticks();
}

uint64_t nic_inline_work(struct nic *nic, struct ixgbe *engine, enum nic_work work, unsigned batch, unsigned packets,
                         unsigned turns, uint64_t *done)
{
    struct nic_packet list[NIC_BATCH];
    uint64_t took = 0;

    *done = 0;
    if (batch > NIC_BATCH)
        batch = NIC_BATCH;
    for (unsigned turn = 0; turn < turns; turn++) {
        uint64_t start;

        ixgbe_lock(engine);
        for (unsigned i = 0; i < packets; i += 64)
            ixgbe_poll(engine);
        ixgbe_unlock(engine);
        start = device_ticks();
        *done += work_burst(nic, work, list, batch, packets);
        took += device_ticks() - start;
    }
    return took;
}

uint64_t nic_apart_work(struct nic *nic, enum nic_work work, unsigned batch, uint64_t ticks, uint64_t *busy)
{
    struct nic_packet list[NIC_BATCH];
    uint64_t start = device_ticks(), now = start, done = 0;

    *busy = 0;
    if (batch > NIC_BATCH)
        batch = NIC_BATCH;
    do {
        unsigned one = work_once(nic, work, list, batch);
        uint64_t then = device_ticks();

        if (one)
            *busy += then - now;
        done += one;
        now = then;
    } while (now - start < ticks);
    return done;
}

struct ball {
    _Atomic uint32_t word __attribute__((aligned(64)));
    unsigned rounds;
};

static void *return_it(void *argument)
{
    struct ball *ball = argument;

    for (uint32_t i = 0; i < ball->rounds; i++) {
        while (ball->word != 2 * i + 1)
            device_pause();
        ball->word = 2 * i + 2;
    }
    return NULL;
}

double nic_ping_pong(int here, int there, unsigned rounds)
{
    struct ball ball = {.rounds = rounds + 100};
    cpu_set_t before, set;
    pthread_attr_t attributes;
    pthread_t thread;
    uint64_t start = 0, took;
    int error;

    CPU_ZERO(&set);
    CPU_SET(there, &set);
    pthread_attr_init(&attributes);
    pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    error = pthread_create(&thread, &attributes, return_it, &ball);
    pthread_attr_destroy(&attributes);
    if (error)
        return 0;
    sched_getaffinity(0, sizeof before, &before);
    CPU_ZERO(&set);
    CPU_SET(here, &set);
    sched_setaffinity(0, sizeof set, &set);
    for (uint32_t i = 0; i < ball.rounds; i++) {
        if (i == 100)
            start = device_ticks();
        ball.word = 2 * i + 1;
        while (ball.word != 2 * i + 2)
            device_pause();
    }
    took = device_ticks() - start;
    pthread_join(thread, NULL);
    sched_setaffinity(0, sizeof before, &before);
    return (double)took / rounds;
}
