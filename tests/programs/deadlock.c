/* Threads that wait for each other for ever:  deadlock self|pair|child
 *
 *   self   a thread that joins itself: refused, so the program ends by itself with 0
 *   pair   two threads that join each other; main has ended
 *   child  the same in a child process, which main waits for */
#include "check.h"

#define STACK 0x200000000UL
#define STACK_TOP (STACK + 4 * AERO_PAGE_SIZE)

static volatile aero_handle handles[2];

static int joins(void *argument)
{
    uint64_t which = (uint64_t)argument;

    while (!handles[which])
        aero_thread_yield();
    return (int)aero_thread_join(handles[which]);
}

static int pair(void *argument)
{
    struct aero_thread threads[2];

    (void)argument;
    for (uint64_t i = 0; i < 2; i++)
        must("aero_thread_spawn", aero_thread_spawn(&threads[i], joins, (void *)(1 - i)));
    handles[0] = threads[0].handle;
    handles[1] = threads[1].handle;
    aero_thread_exit(7);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "pair";

    if (strcmp(what, "self") == 0) {
        struct aero_thread thread;

        must("aero_thread_spawn", aero_thread_spawn(&thread, joins, (void *)0));
        handles[0] = thread.handle;
        expect("joining oneself", aero_thread_wait(&thread), (uint32_t)-AERO_EDEADLK);
        return verdict("deadlock");
    }
    if (strcmp(what, "child") == 0) {
        aero_handle process = (aero_handle)must("process_create", aero_process_create());

        must("mmap", aero_mmap(STACK, STACK_TOP - STACK, AERO_READ | AERO_WRITE));
        must("process_share of the program", aero_process_share_program(process));
        must("process_share", aero_process_share(process, STACK, STACK_TOP - STACK, STACK, AERO_READ | AERO_WRITE));
        must("process_start", aero_process_run(process, pair, NULL, STACK_TOP));
        return (int)aero_process_wait(process);
    }
    return pair(NULL);
}
