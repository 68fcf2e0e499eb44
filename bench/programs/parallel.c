/* Integer work on several threads at once:  parallel THREADS ROUNDS
 *
 * Each thread does ROUNDS steps of xorshift; the host takes the time. */
#include <aero.h>

#define MOST 64

static uint64_t rounds;
static volatile uint64_t results[MOST];

static uint64_t number(const char *text)
{
    uint64_t value = 0;

    while (text && *text >= '0' && *text <= '9')
        value = value * 10 + (uint64_t)(*text++ - '0');
    return value;
}

/* George Marsaglia, "Xorshift RNGs", 2003. */
static int work(void *argument)
{
    uint64_t state = 88172645463325252UL;

    for (uint64_t left = rounds; left > 0; left--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    results[(uint64_t)argument] = state;
    return 0;
}

int main(int argc, char **argv)
{
    static struct aero_thread threads[MOST];
    uint64_t count = argc > 2 ? number(argv[1]) : 0;

    if (count < 1 || count > MOST)
        return 2;
    rounds = number(argv[2]);
    for (uint64_t i = 1; i < count; i++)
        if (aero_thread_spawn(&threads[i], work, (void *)i))
            return 1;
    work(NULL);
    for (uint64_t i = 1; i < count; i++)
        if (aero_thread_wait(&threads[i]))
            return 1;
    return 0;
}
