/* Threads and processes that end each other:  family SCENE
 *
 * Each scene says what is wrong and exits with 1 if anything was. */
#include "check.h"

#define KILLED 137

static volatile uint64_t turns;
static volatile uint64_t begun;

static int spins(void *argument)
{
    begun = 1;
    while (!argument)
        turns++;
    return 0;
}

static int yields(void *argument)
{
    begun = 1;
    while (!argument)
        aero_thread_yield();
    return 0;
}

static int returns(void *argument)
{
    return (int)(uint64_t)argument;
}

static int joins(void *argument)
{
    begun = 1;
    return (int)aero_thread_join(*(aero_handle *)argument);
}

static void await(volatile uint64_t *what)
{
    while (!*what)
        aero_thread_yield();
}

/* --- Threads --- */

/* On one core it is ready when it is killed; on two it most likely runs. */
static void kill_spinning(void)
{
    struct aero_thread other;
    uint64_t seen;

    must("spawn", aero_thread_spawn(&other, spins, NULL));
    await(&begun);
    expect("thread_kill", aero_thread_kill(other.handle), 0);
    seen = turns;
    for (int i = 0; i < 1000; i++)
        aero_thread_yield();
    expect("turns after the kill", (int64_t)turns, (int64_t)seen);
    expect("a second kill", aero_thread_kill(other.handle), -AERO_ECHILD);
    expect("its status", aero_thread_wait(&other), KILLED);
    expect("a kill by a closed handle", aero_thread_kill(other.handle), -AERO_ESRCH);
}

static void kill_before_it_runs(void)
{
    struct aero_thread other;

    must("spawn", aero_thread_spawn(&other, returns, (void *)5));
    int64_t result = aero_thread_kill(other.handle);
    int64_t status = aero_thread_wait(&other);

    if (result == 0)
        expect("the status of a killed thread", status, KILLED);
    else { /* another core was faster */
        expect("thread_kill", result, -AERO_ECHILD);
        expect("the status of one that has ended", status, 5);
    }
}

/* One joins another that spins: first the one that is waited for goes, then one that waits. */
static void kill_joined(void)
{
    struct aero_thread spinner, joiner;

    must("spawn", aero_thread_spawn(&spinner, yields, NULL));
    await(&begun);
    begun = 0;
    must("spawn", aero_thread_spawn(&joiner, joins, &spinner.handle));
    await(&begun);
    for (int i = 0; i < 100; i++)
        aero_thread_yield();
    expect("thread_kill of the joined", aero_thread_kill(spinner.handle), 0);
    expect("what its joiner got", aero_thread_wait(&joiner), KILLED);
}

static void kill_joiner(void)
{
    struct aero_thread spinner, joiner;

    must("spawn", aero_thread_spawn(&spinner, yields, NULL));
    await(&begun);
    begun = 0;
    must("spawn", aero_thread_spawn(&joiner, joins, &spinner.handle));
    await(&begun);
    for (int i = 0; i < 100; i++)
        aero_thread_yield();
    expect("thread_kill of the joiner", aero_thread_kill(joiner.handle), 0);
    expect("the joiner's status", aero_thread_wait(&joiner), KILLED);
    expect("thread_kill of who is not joined any more", aero_thread_kill(spinner.handle), 0);
    expect("its status", aero_thread_wait(&spinner), KILLED);
}

static aero_handle own;

static int kills_itself(void *argument)
{
    (void)argument;
    await((volatile uint64_t *)&own);
    return aero_thread_kill(own) == -AERO_EINVAL ? 3 : 4;
}

static void kill_oneself(void)
{
    struct aero_thread other;

    must("spawn", aero_thread_spawn(&other, kills_itself, NULL));
    own = other.handle;
    expect("who could not kill itself", aero_thread_wait(&other), 3);
}

/* Kills in a row, of threads that are somewhere in a yield. */
static void kill_many(void)
{
    for (int i = 0; i < 200; i++) {
        struct aero_thread other;

        begun = 0;
        must("spawn", aero_thread_spawn(&other, i % 2 ? yields : spins, NULL));
        if (i % 3)
            await(&begun);
        expect("thread_kill", aero_thread_kill(other.handle), 0);
        expect("its status", aero_thread_wait(&other), KILLED);
    }
}

static const struct scene {
    const char *name;
    void (*play)(void);
} scenes[] = {
    {"kill-spinning", kill_spinning},
    {"kill-before-it-runs", kill_before_it_runs},
    {"kill-joined", kill_joined},
    {"kill-joiner", kill_joiner},
    {"kill-oneself", kill_oneself},
    {"kill-many", kill_many},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof scenes / sizeof scenes[0]; i++)
        if (strcmp(argv[1], scenes[i].name) == 0) {
            scenes[i].play();
            return verdict(argv[1]);
        }
    return 2;
}
