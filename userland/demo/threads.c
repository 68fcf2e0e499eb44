/* N threads that only compute, and a lock they share.    threads [N]    (1 to 64, default 4)
 *
 * Each thread runs the same pseudo-random generator from its own seed; main computes the same numbers again one after
 * the other and compares, so a register lost in a context switch shows. */
#include <aero.h>

#define MOST 64
#define ROUNDS 20000000UL

static struct worker {
    struct aero_thread thread;
    uint64_t seed;
    uint64_t result;
} workers[MOST];

static struct aero_lock lock;
static int finished; /* under the lock */

/* George Marsaglia, "Xorshift RNGs", 2003: the (13, 7, 17) triple. */
static uint64_t xorshift(uint64_t state, uint64_t rounds)
{
    while (rounds-- > 0) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    return state;
}

static int work(void *argument)
{
    struct worker *worker = argument;

    worker->result = xorshift(worker->seed, ROUNDS);
    aero_lock_take(&lock);
    finished++;
    aero_lock_release(&lock);
    return (int)(worker->result & 0x7fffffff);
}

static int number_in(const char *text)
{
    int number = 0;

    while (*text >= '0' && *text <= '9' && number <= MOST)
        number = number * 10 + *text++ - '0';
    return *text ? -1 : number;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? number_in(argv[1]) : 4;
    int wrong = 0;

    if (count < 1 || count > MOST) {
        aero_print("usage: threads [1..64]\n");
        return 2;
    }
    for (int i = 0; i < count; i++) {
        int64_t result;

        workers[i].seed = 0x9e3779b97f4a7c15UL * (uint64_t)(i + 1);
        result = aero_thread_spawn(&workers[i].thread, work, &workers[i]);
        if (aero_failed(result)) {
            aero_print("cannot start a thread: ");
            aero_print(aero_error_name(result));
            aero_print("\n");
            return 1;
        }
    }
    for (int i = 0; i < count; i++) {
        int64_t status = aero_thread_wait(&workers[i].thread);
        uint64_t expected = xorshift(workers[i].seed, ROUNDS);

        wrong += workers[i].result != expected || status != (int64_t)(expected & 0x7fffffff);
    }
    wrong += finished != count;
    aero_print_number(count);
    aero_print(wrong ? " threads: some computed a WRONG result\n" : " threads computed what one computes\n");
    return wrong != 0;
}
