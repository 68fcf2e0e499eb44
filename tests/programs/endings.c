/* The ways a program, a thread and a child process can end:  endings NAME
 *
 *   exit N            process_exit(N)
 *   thread-exit N     main ends as the last thread, with N
 *   thread-outlives   main ends first, another thread ends the process with 6
 *   thread-faults     a thread other than main touches null: kills the process
 *   child-exits       the parent sees the child's status
 *   child-faults      the parent sees that the child was killed, and goes on
 *   child-orphaned    the parent exits with 3 although its child spins for ever
 *   child-isolated    the child sees what was shared with it and nothing else */
#include "check.h"

#define STACK 0x200000000UL
#define SECRET 0x210000000UL
#define STACK_TOP (STACK + 4 * AERO_PAGE_SIZE)

static int touch_null(void *argument)
{
    (void)argument;
    __asm__ volatile("xor %%eax, %%eax; mov (%%rax), %%rax" : : : "rax");
    return 0;
}

static int touch_secret(void *argument)
{
    (void)argument;
    return (int)*(volatile uint64_t *)SECRET; /* the parent's, not shared: a page fault */
}

static volatile bool always = true;

static int spin(void *argument)
{
    (void)argument;
    while (always)
        ;
    return 0;
}

static int give_six(void *argument)
{
    (void)argument;
    for (int i = 0; i < 10; i++)
        aero_thread_yield();
    return 6;
}

static int give_argument(void *argument)
{
    return (int)(uint64_t)argument;
}

static aero_handle child(int (*function)(void *), uint64_t argument)
{
    aero_handle process = (aero_handle)must("process_create", aero_process_create());

    must("mmap", aero_mmap(STACK, STACK_TOP - STACK, AERO_READ | AERO_WRITE));
    must("process_share of the program", aero_process_share_program(process));
    must("process_share", aero_process_share(process, STACK, STACK_TOP - STACK, STACK, AERO_READ | AERO_WRITE));
    must("process_start", aero_process_run(process, function, (void *)argument, STACK_TOP));
    return process;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    uint64_t number = number_or(argc > 2 ? argv[2] : NULL, 0);
    struct aero_thread thread;

    if (strcmp(what, "exit") == 0)
        aero_process_exit(number);
    if (strcmp(what, "thread-exit") == 0)
        aero_thread_exit(number);
    if (strcmp(what, "thread-outlives") == 0) {
        must("aero_thread_spawn", aero_thread_spawn(&thread, give_six, NULL));
        aero_thread_exit(5);
    }
    if (strcmp(what, "thread-faults") == 0) {
        must("aero_thread_spawn", aero_thread_spawn(&thread, touch_null, NULL));
        spin(NULL);
    }
    if (strcmp(what, "child-exits") == 0) {
        expect("the child's status", aero_process_wait(child(give_argument, 0x12345678)), 0x12345678);
        return verdict(what);
    }
    if (strcmp(what, "child-faults") == 0) {
        int64_t status = aero_process_wait(child(touch_null, 0));

        expect_true("the child was killed by a fault", status > 128 && status < 256);
        return verdict(what);
    }
    if (strcmp(what, "child-orphaned") == 0) {
        child(spin, 0);
        return 3;
    }
    if (strcmp(what, "child-isolated") == 0) {
        int64_t status;

        must("mmap", aero_mmap(SECRET, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
        *(volatile uint64_t *)SECRET = 1;
        status = aero_process_wait(child(touch_secret, 0));
        expect_true("the child could not read its parent's page", status > 128 && status < 256);
        return verdict(what);
    }
    return 2;
}
