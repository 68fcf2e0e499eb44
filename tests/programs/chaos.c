/* Native calls at random, many of them wrong, from several threads and processes at once:  chaos [ROUNDS] [SEED]
 *
 * Each thread has an area of its own for mappings and knows the handles that the process got.  Whatever it does, the
 * calls must return, and what it wrote in a page of its own must be there.  Threads join only what they started, so
 * that nobody waits for ever. */
#include "check.h"

#define THREADS 3
#define AREA(number) (0x100000000000UL + ((uint64_t)(number) << 40))
#define PAGES 48UL
#define CHILD_STACK 0x500000000000UL
#define CHILD_AREA 0x510000000000UL

static uint64_t rounds, base_seed;

struct view {
    uint64_t random;
    uint64_t area;
    uint64_t stamps[PAGES]; /* 0: not mapped writable by what is known here */
    aero_handle started[8];
    unsigned count;
};

static const uint64_t strides[] = {AERO_PAGE_SIZE, AERO_BLOCK_SIZE, 1UL << 30};

static uint64_t page_of(const struct view *view, uint64_t index)
{
    return view->area + (1UL << 34) * (index % 3) + (index / 3 + 1) * strides[index % 3];
}

static uint64_t hostile(struct view *view)
{
    static const uint64_t values[] = {
        0, 1, 0xfff, 0x1000, AERO_USER_MIN, AERO_USER_END - 0x1000, AERO_USER_END, AERO_SYSTEM_BASE, 1UL << 47, 1UL << 63,
        ~0UL, ~0xfffUL, 0x7fffffffffffffffUL, 0xffff800000000000UL,
    };

    return values[xorshift(&view->random) % (sizeof values / sizeof values[0])];
}

static int small(void *argument)
{
    for (uint64_t i = 0; i < (uint64_t)argument % 5; i++)
        aero_thread_yield();
    return (int)(uint64_t)argument;
}

static void start_thread(struct view *view)
{
    struct aero_thread thread;

    if (view->count == 8 || aero_thread_spawn(&thread, small, (void *)(xorshift(&view->random) % 1000)))
        return;
    view->started[view->count++] = thread.handle;
}

static int child(void *argument)
{
    uint64_t random = (uint64_t)argument | 1;

    for (uint64_t i = 0; i < 10; i++) {
        uint64_t address = CHILD_AREA + xorshift(&random) % 8 * AERO_PAGE_SIZE;

        if (aero_mmap(address, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE) == 0)
            *(volatile uint64_t *)address = random;
        else
            aero_munmap(address, AERO_PAGE_SIZE);
    }
    if (random % 3 == 0)
        __asm__ volatile("ud2"); /* some end by a fault */
    return 17;
}

/* A stack page shared with the child, and the program; the parent's own mapping of the stack goes at once. */
static void start_process(struct view *view)
{
    uint64_t stack = CHILD_STACK + view->area / 256;
    int64_t process;

    if (view->count == 8)
        return;
    process = aero_process_create();
    if (aero_failed(process))
        return;
    view->started[view->count++] = (aero_handle)process;
    if (xorshift(&view->random) % 4 == 0)
        return; /* never started */
    if (aero_mmap(stack, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE))
        return;
    if (aero_process_share((aero_handle)process, stack, AERO_PAGE_SIZE, stack, AERO_READ | AERO_WRITE) == 0 &&
        aero_process_share_program((aero_handle)process) == 0)
        aero_process_run((aero_handle)process, child, (void *)xorshift(&view->random), stack + AERO_PAGE_SIZE);
    aero_munmap(stack, AERO_PAGE_SIZE);
}

static void one(struct view *view)
{
    uint64_t choice = xorshift(&view->random) % 100, index = xorshift(&view->random) % PAGES;
    uint64_t address = page_of(view, index);
    volatile uint64_t *word = (uint64_t *)address;

    if (choice < 35) {
        if (aero_mmap(address, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE) == 0) {
            expect("a word of a new page", (int64_t)*word, 0);
            *word = view->stamps[index] = view->random | 1;
        }
    } else if (choice < 55) {
        if (view->stamps[index])
            expect("a word of one's own", (int64_t)*word, (int64_t)view->stamps[index]);
        if (aero_munmap(address, AERO_PAGE_SIZE) == 0)
            view->stamps[index] = 0;
    } else if (choice < 65) {
        if (aero_mprotect(address, AERO_PAGE_SIZE, AERO_READ) == 0) {
            expect("a word of one's own", (int64_t)*word, (int64_t)view->stamps[index]);
            must("mprotect back", aero_mprotect(address, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
            *word = view->stamps[index] = view->random | 1;
        }
    } else if (choice < 70) {
        uint64_t block = view->area + (3UL << 36);

        if (aero_mmap(block, AERO_BLOCK_SIZE, AERO_READ | AERO_WRITE) == 0)
            *(volatile uint64_t *)(block + AERO_BLOCK_SIZE - 8) = 1;
        else
            aero_munmap(block, AERO_BLOCK_SIZE);
    } else if (choice < 75) {
        start_thread(view);
    } else if (choice < 78) {
        start_process(view);
    } else if (choice < 85 && view->count) {
        aero_handle handle = view->started[--view->count];
        int64_t status = aero_thread_join(handle);

        if (status == -AERO_ESRCH)
            status = aero_process_wait(handle); /* EINVAL where it was never started */
        (void)status;
    } else if (choice < 90) {
        aero_thread_yield();
    } else {
        uint64_t number = 0x1000 + xorshift(&view->random) % 0x40;

        if (number == AERO_CALL_thread_exit || number == AERO_CALL_process_exit || number == AERO_CALL_thread_create ||
            number == AERO_CALL_thread_join || number == AERO_CALL_process_wait || number == AERO_CALL_process_start)
            number = 0x1fff;
        aero_syscall(number, hostile(view), hostile(view), hostile(view), hostile(view), hostile(view), hostile(view));
    }
}

static int work(void *argument)
{
    struct view *view = argument;

    for (uint64_t round = 0; round < rounds && failures == 0; round++)
        one(view);
    return failures;
}

int main(int argc, char **argv)
{
    static struct view views[THREADS + 1];
    struct aero_thread threads[THREADS];

    rounds = number_or(argc > 1 ? argv[1] : NULL, 200);
    base_seed = number_or(argc > 2 ? argv[2] : NULL, 1);
    for (uint64_t i = 0; i <= THREADS; i++) {
        views[i].random = (base_seed * 64 + i + 1) * 0x2545f4914f6cdd1dUL | 1;
        views[i].area = AREA(i);
    }
    for (uint64_t i = 0; i < THREADS; i++)
        must("aero_thread_spawn", aero_thread_spawn(&threads[i], work, &views[i]));
    work(&views[THREADS]);
    for (uint64_t i = 0; i < THREADS; i++)
        expect("a thread's status", aero_thread_wait(&threads[i]), 0);
    return verdict("chaos"); /* with whatever is mapped, started and not waited for */
}
