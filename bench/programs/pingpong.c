/* Two threads that hand a word of shared memory to and fro:  pingpong ROUNDS
 *
 * Prints the nanoseconds of a round, there and back.  The threads only spin: each needs a core of its own. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static _Alignas(64) _Atomic uint64_t ball;
static uint64_t rounds;

/* Waits until the ball is `mine`, and passes it on, 2 further each time. */
static void play(uint64_t mine)
{
    for (; mine < 2 * rounds; mine += 2) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != mine)
            __builtin_ia32_pause();
        atomic_store_explicit(&ball, mine + 1, memory_order_release);
    }
}

static void *other(void *argument)
{
    play(1);
    return argument;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    double start;

    rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    if (rounds == 0 || pthread_create(&thread, NULL, other, NULL))
        return 2;
    start = now();
    play(0);
    pthread_join(thread, NULL);
    printf("%.2f\n", (now() - start) / (double)rounds);
    return 0;
}
