/* One thread uses a page for ever while another takes it away:  races CHANGE ACCESS [block]
 *
 *   CHANGE  unmap, protect-none, protect-read, exit
 *   ACCESS  read, write, execute
 *
 * The user must be stopped by a page fault: the program ends by one and prints nothing.  Where it gets further although
 * the change has been made, the program says so and exits with 1.
 *
 *   races toggle          a page's rights go back and forth while both threads use those that it always has: no fault,
 *                         and no write is lost; exits with 0
 *   races hammer          two threads overwrite 4 MiB for ever, after printing a line: to be killed */
#include "check.h"

#define AREA 0x300000000000UL
#define AGAIN 0x310000000000UL
#define SECRET 0x5ec2e75ec2e75ec2UL

static volatile uint64_t uses, started;
static const char *kind;

static int use(void *argument)
{
    volatile uint64_t *word = argument;
    uint64_t count = 0;

    started = 1;
    if (strcmp(kind, "read") == 0)
        for (;;) {
            (void)*word;
            uses = ++count;
        }
    if (strcmp(kind, "write") == 0)
        for (;;) {
            *word = SECRET;
            uses = ++count;
        }
    for (;;) {
        ((void (*)(void))argument)();
        uses = ++count;
    }
    return 0;
}

/* The fault of the other thread ends this; it may do so much later on one core, where it has to get its turn. */
static int accuse(uint64_t uses_then)
{
    for (;;) {
        /* One use may have been made before the change and not yet been counted. */
        if (uses > uses_then + 1) {
            aero_print("the page could still be used\n");
            return 1;
        }
        for (uint64_t word = 0; word < AERO_BLOCK_SIZE; word += 8)
            if (*(volatile uint64_t *)(AGAIN + word)) {
                aero_print("a new page was written through the old mapping\n");
                return 1;
            }
    }
}

static int take_away(const char *change, uint64_t size)
{
    struct aero_thread thread;
    uint64_t uses_then;

    must("mmap", aero_mmap(AREA, size, AERO_READ | AERO_WRITE | AERO_EXECUTE));
    *(volatile uint8_t *)(AREA + size - AERO_PAGE_SIZE) = 0xc3; /* ret */
    must("aero_thread_spawn", aero_thread_spawn(&thread, use, (void *)(AREA + size - AERO_PAGE_SIZE)));
    while (!started || uses < 1000)
        aero_thread_yield();
    if (strcmp(change, "exit") == 0)
        return 0;
    if (strcmp(change, "unmap") == 0)
        must("munmap", aero_munmap(AREA, size));
    else if (strcmp(change, "protect-none") == 0)
        must("mprotect", aero_mprotect(AREA, size, AERO_NONE));
    else
        must("mprotect", aero_mprotect(AREA, size, AERO_READ));
    uses_then = uses;
    must("mmap again", aero_mmap(AGAIN, AERO_BLOCK_SIZE, AERO_READ | AERO_WRITE));
    return accuse(uses_then);
}

static volatile uint64_t stop;

static int increment(void *argument)
{
    volatile uint64_t *word = argument;
    uint64_t count = 0;

    while (!stop) {
        word[0] = ++count;
        if (word[0] != count || word[1] != SECRET)
            return 1;
    }
    return 0;
}

static int toggle(void)
{
    struct aero_thread thread;

    must("mmap", aero_mmap(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    ((volatile uint64_t *)AREA)[1] = SECRET;
    must("aero_thread_spawn", aero_thread_spawn(&thread, increment, (void *)AREA));
    for (int round = 0; round < 1500; round++) {
        uint64_t protection = AERO_READ | AERO_WRITE | (round % 2 ? 0 : AERO_EXECUTE);

        must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, protection));
    }
    stop = 1;
    expect("the other thread's status", aero_thread_wait(&thread), 0);
    return verdict("toggle");
}

static int overwrite(void *argument)
{
    for (;;)
        for (uint64_t at = AREA; at < AREA + 2 * AERO_BLOCK_SIZE; at += 64)
            *(volatile uint64_t *)at = (uint64_t)argument;
    return 0;
}

static int hammer(void)
{
    struct aero_thread thread;

    must("mmap", aero_mmap(AREA, 2 * AERO_BLOCK_SIZE, AERO_READ | AERO_WRITE));
    must("aero_thread_spawn", aero_thread_spawn(&thread, overwrite, (void *)SECRET));
    aero_print("hammering\n");
    return overwrite((void *)~SECRET);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "toggle") == 0)
        return toggle();
    if (argc > 1 && strcmp(argv[1], "hammer") == 0)
        return hammer();
    if (argc < 3)
        return 2;
    kind = argv[2];
    return take_away(argv[1], argc > 3 ? AERO_BLOCK_SIZE : AERO_PAGE_SIZE);
}
