/* Calls that take long, and what others do meanwhile:  long MODE [PAGES]
 *
 *   others   one thread takes PAGES pages away in one call; two others, of which one is on its core, go on making calls
 *   kill     a thread is killed by another in the middle of that, by a call that the host defines, which knows where it
 *            is: the call is carried out all the same
 *   hold     PAGES pages are mapped, a line printed, and all taken away and mapped again for ever: to be killed
 *   keep     PAGES pages are mapped, a line printed, and nothing done any more: to be killed */
#include "check.h"

#define AREA 0x300000000000UL
#define PIECE 256UL /* pages: half a block, so that each is mapped by an entry of its own */
#define KILL_IN_ITS_CALL 0x2000 /* (thread): as thread_kill; -EBUSY if the thread is in no long call */

static uint64_t pages;
static volatile uint64_t done, stop, calls[2];

static void map_all(void)
{
    for (uint64_t page = 0; page < pages; page += PIECE)
        must("mmap", aero_mmap(AREA + page * AERO_PAGE_SIZE, PIECE * AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
}

static int unmap_all(void *argument)
{
    (void)argument;
    expect("munmap", aero_munmap(AREA, pages * AERO_PAGE_SIZE), 0);
    done = 1;
    return 0;
}

static int call_on(void *argument)
{
    while (!stop) {
        aero_null();
        calls[(uint64_t)argument] += 1;
    }
    return 0;
}

static void others(void)
{
    struct aero_thread threads[2];
    uint64_t before[2], made[2] = {0, 0};

    for (uint64_t i = 0; i < 2; i++)
        must("thread", aero_thread_spawn(&threads[i], call_on, (void *)i));
    while (!calls[0] || !calls[1])
        aero_thread_yield();
    /* Again and again until both have: how much happens during one call is up to the machine. */
    for (;; map_all()) {
        for (int i = 0; i < 2; i++)
            before[i] = calls[i];
        unmap_all(NULL);
        for (int i = 0; i < 2; i++)
            made[i] += calls[i] - before[i];
        if (made[0] >= 100 && made[1] >= 100)
            break;
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        must("wait", aero_thread_wait(&threads[i]));
}

static void kill_in_between(void)
{
    struct aero_thread thread;
    int64_t killed;

    for (;; map_all()) {
        done = 0;
        must("thread", aero_thread_spawn(&thread, unmap_all, NULL));
        while ((killed = aero_syscall(KILL_IN_ITS_CALL, (uint64_t)thread.handle, 0, 0, 0, 0, 0)) != 0 && !done)
            aero_thread_yield();
        if (killed == 0)
            break;
        must("wait", aero_thread_wait(&thread)); /* it was faster */
    }
    expect("its status", aero_thread_join(thread.handle), 137);
    expect("done before it was killed", (int64_t)done, 0);
    /* One page: waits for what the dead thread began. */
    expect("mmap", aero_mmap(AREA, AERO_PAGE_SIZE, AERO_READ), 0);
    expect("mmap", aero_mmap(AREA + (pages - 1) * AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ), 0);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "others";

    pages = number_or(argc > 2 ? argv[2] : NULL, 20480) & -PIECE;
    map_all();
    if (strcmp(mode, "others") == 0)
        others();
    else if (strcmp(mode, "kill") == 0)
        kill_in_between();
    else {
        aero_print("mapped\n");
        while (strcmp(mode, "keep") == 0)
            aero_thread_yield();
        for (;; map_all())
            unmap_all(NULL);
    }
    return verdict("long");
}
