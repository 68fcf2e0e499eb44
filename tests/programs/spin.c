/* Programs that never end by themselves: for time limits, Ctrl-C, preemption and fairness.
 *
 *   spin            an endless loop without a system call
 *   spin calls      one that makes null calls
 *   spin yields     one that yields
 *   spin threads N  N endless threads, main waiting for the first
 *   spin exit N     N endless threads, main exits with 5 although they run: ends */
#include "check.h"

#define MOST 64

static volatile bool always = true;

static int forever(void *argument)
{
    (void)argument;
    while (always)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    static struct aero_thread threads[MOST];
    const char *what = argc > 1 ? argv[1] : "";
    uint64_t count = number_or(argc > 2 ? argv[2] : NULL, 2);

    if (strcmp(what, "calls") == 0)
        for (;;)
            aero_null();
    if (strcmp(what, "yields") == 0)
        for (;;)
            aero_thread_yield();
    if (strcmp(what, "threads") == 0 || strcmp(what, "exit") == 0) {
        for (uint64_t i = 0; i < count && i < MOST; i++)
            must("aero_thread_spawn", aero_thread_spawn(&threads[i], forever, NULL));
        if (strcmp(what, "exit") == 0)
            return 5;
        aero_thread_wait(&threads[0]);
    }
    return forever(NULL);
}
