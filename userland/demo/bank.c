/* Two threads: one moves money between accounts, the other adds them up.  There is a bug in it.    bank
 *
 * The second half of docs/tutorial-invariants.md is about it. */
#include <aero.h>

#define TRANSFERS 20
#define TOTAL 1000

static struct bank {
    struct aero_lock lock;
    int64_t accounts[2];
} bank = { .accounts = { TOTAL, 0 } };

static volatile bool closed;

static void transfer(int from, int to, int64_t amount)
{
    aero_lock_take(&bank.lock);
    if (bank.accounts[from] < amount) {
        aero_lock_release(&bank.lock);
        return;
    }
    bank.accounts[from] -= amount;
    aero_lock_release(&bank.lock);

    aero_thread_yield(); /* time passes: the receipt is printed, say */

    aero_lock_take(&bank.lock);
    bank.accounts[to] += amount;
    aero_lock_release(&bank.lock);
}

static int teller(void *argument)
{
    (void)argument;
    for (int i = 0; i < TRANSFERS; i++)
        transfer(i % 2, 1 - i % 2, 100);
    closed = true;
    return 0;
}

static int auditor(void *argument)
{
    int wrong = 0;

    (void)argument;
    while (!closed) {
        aero_lock_take(&bank.lock);
        wrong += bank.accounts[0] + bank.accounts[1] != TOTAL;
        aero_lock_release(&bank.lock);
        aero_thread_yield();
    }
    return wrong;
}

int main(void)
{
    struct aero_thread threads[2];

    if (aero_failed(aero_thread_spawn(&threads[0], teller, NULL)) ||
        aero_failed(aero_thread_spawn(&threads[1], auditor, NULL)))
        return 1;
    aero_thread_wait(&threads[0]);
    aero_print(aero_thread_wait(&threads[1]) ? "the auditor is not content\n" : "all is well\n");
    return 0;
}
