/* What invariants are tested on:  watched COMMAND [N] */
#include <aero.h>

static int count;          /* counted up by 1 before each call of count_to */
static int broken;         /* 1 while something is wrong */
static struct aero_lock lock;
static int accounts[2] = { 500, 500 };
static int * volatile dangling = (int *)0x10;
static volatile int computing;

static int number_in(const char *text)
{
    int number = 0;

    while (*text >= '0' && *text <= '9')
        number = number * 10 + *text++ - '0';
    return number;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* Moves money within the lock; whoever looks in between, at the call, sees too little. */
static void transfer(int amount)
{
    aero_lock_take(&lock);
    accounts[0] -= amount;
    aero_thread_yield();
    accounts[1] += amount;
    aero_lock_release(&lock);
    aero_null();
}

static int transfers(void *argument)
{
    for (int i = 0; i < 50; i++)
        transfer(argument ? 1 : -1);
    return 0;
}

/* The bug: not within the lock. */
static int careless(void *argument)
{
    (void)argument;
    for (int i = 0; i < 200; i++) {
        accounts[0] -= 7;
        aero_thread_yield();
        accounts[1] += 7;
    }
    return 0;
}

static int two_threads(int (*first)(void *), int (*second)(void *))
{
    struct aero_thread threads[2];

    if (aero_failed(aero_thread_spawn(&threads[0], first, (void *)1)) ||
        aero_failed(aero_thread_spawn(&threads[1], second, (void *)0)))
        return 1;
    aero_thread_wait(&threads[0]);
    aero_thread_wait(&threads[1]);
    return accounts[0] + accounts[1] != 1000;
}

static int compute(void *argument)
{
    (void)argument;
    for (computing = 1; computing < 300000000; computing++)
        ;
    return 0;
}

static int calls(void *argument)
{
    (void)argument;
    while (computing == 0)
        aero_thread_yield();
    for (int i = 0; i < 200; i++)
        aero_null();
    return 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    int n = argc > 2 ? number_in(argv[2]) : 1;

    if (same(command, "count"))
        for (count = 1; count <= n; count++)
            aero_null();
    else if (same(command, "print"))
        for (count = 1; count <= n; count++)
            aero_print("printed\n");
    else if (same(command, "break-and-exit"))
        broken = 1;
    else if (same(command, "break-and-fault")) {
        broken = 1;
        *dangling = 1;
    } else if (same(command, "break-and-mend"))
        for (int i = 0; i < n; i++) {
            broken = 1;
            aero_null();
            broken = 0;
            aero_null();
        }
    else if (same(command, "transfers"))
        return two_threads(transfers, transfers);
    else if (same(command, "careless"))
        return two_threads(transfers, careless);
    else if (same(command, "compute"))
        return two_threads(compute, calls);
    else if (same(command, "threads"))
        return two_threads(compute, compute);
    else
        return 2;
    return 0;
}
