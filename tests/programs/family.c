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

/* --- Processes.  They share the program with its variables: what one writes in `turns` or `begun` all see. --- */

#define STACKS 0x200000000UL
#define STACK_PAGES 4UL

static volatile uint64_t stacks;      /* given out */
static volatile uint64_t ran[8];      /* by the number of who counts in it */
static aero_handle middle_container;

/* A process that runs function(argument) in a container, or in the caller's own (0). */
static aero_handle offspring(aero_handle container, int (*function)(void *), uint64_t argument)
{
    uint64_t stack = STACKS + __atomic_fetch_add(&stacks, 1, __ATOMIC_RELAXED) * 2 * STACK_PAGES * AERO_PAGE_SIZE;
    uint64_t top = stack + STACK_PAGES * AERO_PAGE_SIZE;
    aero_handle process = (aero_handle)must(
        "process_create", container ? aero_process_create_in(container) : aero_process_create());

    must("mmap of a stack", aero_mmap(stack, STACK_PAGES * AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    must("share of the program", aero_process_share_program(process));
    must("share of the stack", aero_process_share(process, stack, STACK_PAGES * AERO_PAGE_SIZE, stack,
                                                  AERO_READ | AERO_WRITE));
    must("process_start", aero_process_run(process, function, (void *)argument, top));
    return process;
}

static int counts(void *number)
{
    for (;;) {
        ran[(uint64_t)number]++;
        aero_thread_yield();
    }
    return 0;
}

/* Whether number counts on, after long enough. */
static bool counts_on(uint64_t number)
{
    uint64_t seen = ran[number];

    for (int i = 0; i < 2000 && ran[number] == seen; i++)
        aero_thread_yield();
    return ran[number] != seen;
}

static void await_all(uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        await(&ran[i]);
}

/* Has two children that count, as `number` + 1 and + 2, and counts itself. */
static int parent_of_two(void *number)
{
    offspring(0, counts, (uint64_t)number + 1);
    offspring(0, counts, (uint64_t)number + 2);
    return counts(number);
}

/* Has one child that has two. */
static int grandparent(void *number)
{
    offspring(0, parent_of_two, (uint64_t)number + 1);
    return counts(number);
}

static void kill_with_descendants(void)
{
    aero_handle child = offspring(0, grandparent, 1);
    aero_handle other = offspring(0, counts, 5);

    await_all(1, 5);
    expect("process_kill", aero_process_kill(child), 0);
    for (uint64_t i = 1; i <= 4; i++)
        expect_true("a descendant of the killed counts no more", !counts_on(i));
    expect_true("another child goes on", counts_on(5));
    expect("a second kill", aero_process_kill(child), -AERO_ECHILD);
    expect("the status", aero_process_wait(child), KILLED);
    expect("a kill by a closed handle", aero_process_kill(child), -AERO_ESRCH);
    expect("process_kill of the other", aero_process_kill(other), 0);
    expect("its status", aero_process_wait(other), KILLED);
}

static int leaves_a_child(void *number)
{
    offspring(0, counts, (uint64_t)number);
    await(&ran[(uint64_t)number]);
    return 7;
}

/* Its child leaves a child to it, and ends when told. */
static int inherits(void *number)
{
    expect("the status of who left a child", aero_process_wait(offspring(0, leaves_a_child, (uint64_t)number)), 7);
    begun = 1;
    return counts(0);
}

static void inherited_child_ends_with_its_grandparent(void)
{
    aero_handle child = offspring(0, inherits, 3);

    await(&begun);
    expect_true("a child of one that has ended goes on", counts_on(3));
    expect("process_kill of its grandparent", aero_process_kill(child), 0);
    expect_true("then it ends", !counts_on(3));
    expect("the status", aero_process_wait(child), KILLED);
}

static void kill_the_unstarted(void)
{
    aero_handle process = (aero_handle)must("process_create", aero_process_create());

    must("share of the program", aero_process_share_program(process));
    expect("process_kill", aero_process_kill(process), 0);
    expect("process_start of the killed", aero_process_start(process, (void *)counts, (void *)STACKS, 0), -AERO_ECHILD);
    expect("the status", aero_process_wait(process), KILLED);
}

static int waits_for_a_child(void *number)
{
    return (int)aero_process_wait(offspring(0, counts, (uint64_t)number));
}

static void kill_waiting(void)
{
    aero_handle child = offspring(0, waits_for_a_child, 2);

    await(&ran[2]);
    expect("process_kill of who waits for its child", aero_process_kill(child), 0);
    expect_true("the child ends with it", !counts_on(2));
    expect("the status", aero_process_wait(child), KILLED);
}

static int kills_by_handle(void *process)
{
    begun = 1;
    return (int)aero_process_kill((aero_handle)process);
}

/* One thread waits for a process that another thread kills. */
static void kill_awaited(void)
{
    struct aero_thread killer;
    aero_handle child = offspring(0, counts, 1);

    await(&ran[1]);
    must("spawn", aero_thread_spawn(&killer, kills_by_handle, (void *)child));
    expect("the status", aero_process_wait(child), KILLED);
    expect("process_kill", aero_thread_wait(&killer), 0);
}

/* A container, with a process in it that counts, as `number`. */
static int holds_a_container(void *number)
{
    middle_container = (aero_handle)must("container_create", aero_container_create(100, 0, 0, 0));
    offspring(middle_container, counts, (uint64_t)number);
    await(&ran[(uint64_t)number]);
    begun = 1;
    while (begun != 2)
        aero_thread_yield();
    return 9;
}

static void container_ends_when_its_holder_exits(void)
{
    aero_handle child = offspring(0, holds_a_container, 1);

    await(&begun);
    expect_true("what is in the container runs", counts_on(1));
    begun = 2;
    expect("the holder's status", aero_process_wait(child), 9);
    expect_true("the container has ended", !counts_on(1));
}

static void container_ends_when_its_holder_is_killed(void)
{
    aero_handle child = offspring(0, holds_a_container, 1);

    await(&begun);
    expect("process_kill", aero_process_kill(child), 0);
    expect_true("the container has ended", !counts_on(1));
    expect("the status", aero_process_wait(child), KILLED);
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
    {"kill-with-descendants", kill_with_descendants},
    {"inherited", inherited_child_ends_with_its_grandparent},
    {"kill-the-unstarted", kill_the_unstarted},
    {"kill-waiting", kill_waiting},
    {"kill-awaited", kill_awaited},
    {"container-of-who-exits", container_ends_when_its_holder_exits},
    {"container-of-the-killed", container_ends_when_its_holder_is_killed},
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
