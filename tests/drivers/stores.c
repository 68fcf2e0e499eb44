/* Notes each store that this thread makes to some memory, in the order of its instructions: the memory cannot be written,
 * each store faults, and is made again as a single step.  For x86 that is the order in which other processors see them.
 *
 * One recording at a time.  The kernel's own stores to this memory, by a system call, fail meanwhile. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define PAGE 4096UL
#define WIDEST (2 * PAGE) /* that one step changes: some processors do much of a rep movsb in one */
#define AREAS 8
#define TRAP_FLAG 0x100

struct area {
    uint8_t *at;
    uint64_t size; /* whole pages */
};

struct store {
    uint64_t address, length;
    uint8_t bytes[WIDEST]; /* that are there afterwards; pages that nobody writes cost nothing */
};

static struct area areas[AREAS];
static unsigned area_count;
static struct store *stores;
static uint64_t most, count;
static uint8_t *open_page[2], *begun, before[WIDEST];
static unsigned opened;
static struct sigaction before_fault, before_trap;

static const struct area *area_of(const uint8_t *at)
{
    for (unsigned i = 0; i < area_count; i++)
        if (at >= areas[i].at && at < areas[i].at + areas[i].size)
            return &areas[i];
    return NULL;
}

/* Bytes from there on that a step may change. */
static uint64_t reach(const uint8_t *at)
{
    const struct area *area = area_of(at);
    uint64_t left = (uint64_t)(area->at + area->size - at);

    return left < WIDEST ? left : WIDEST;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    uint8_t *at = info->si_addr, *page = (uint8_t *)((uintptr_t)at & ~(PAGE - 1));
    ucontext_t *user = context;
    int saved = errno;

    (void)number;
    if (!area_of(at) || opened == 2) { /* no store that is looked for: as if nobody had been here */
        sigaction(SIGSEGV, &before_fault, NULL);
        return;
    }
    if (!opened) {
        begun = at;
        memcpy(before, at, reach(at));
    }
    open_page[opened++] = page;
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
    user->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
    errno = saved;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    uint64_t length = reach(begun);
    ucontext_t *user = context;
    int saved = errno;

    (void)number;
    (void)info;
    while (length && begun[length - 1] == before[length - 1])
        length--;
    if (length && count < most) { /* what changes nothing nobody sees */
        stores[count].address = (uint64_t)begun;
        stores[count].length = length;
        memcpy(stores[count].bytes, begun, length);
    }
    count += length > 0;
    while (opened)
        mprotect(open_page[--opened], PAGE, PROT_READ);
    user->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    errno = saved;
}

int stores_begin(const struct area *wanted, unsigned wanted_count, struct store *into, uint64_t room)
{
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct sigaction step = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

    if (wanted_count > AREAS)
        return -EINVAL;
    memcpy(areas, wanted, wanted_count * sizeof *wanted);
    area_count = wanted_count;
    stores = into;
    most = room;
    count = 0;
    if (sigaction(SIGSEGV, &fault, &before_fault) || sigaction(SIGTRAP, &step, &before_trap))
        return -errno;
    for (unsigned i = 0; i < area_count; i++)
        if (mprotect(areas[i].at, areas[i].size, PROT_READ))
            return -errno;
    return 0;
}

/* How many there were, which may be more than there was room for. */
uint64_t stores_end(void)
{
    for (unsigned i = 0; i < area_count; i++)
        mprotect(areas[i].at, areas[i].size, PROT_READ | PROT_WRITE);
    sigaction(SIGSEGV, &before_fault, NULL);
    sigaction(SIGTRAP, &before_trap, NULL);
    return count;
}
