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

/* --- Cores --- */

static uint64_t cores(void)
{
    return (uint64_t)must("container_query", aero_container_query(0, AERO_QUERY_CORES));
}

static void move_oneself(void)
{
    uint64_t count = cores();

    for (uint64_t i = 0; i < 20 * count; i++)
        expect("thread_affinity of oneself", aero_thread_affinity(0, i % count), 0);
    expect("thread_affinity to no core", aero_thread_affinity(0, count), -AERO_EINVAL);
}

/* Moves a thread from core to core while it does something, and looks whether it still does. */
static void move_while(int (*does)(void *), volatile uint64_t *counter)
{
    struct aero_thread other;
    uint64_t count = cores();

    must("spawn", aero_thread_spawn(&other, does, NULL));
    await(&begun);
    for (uint64_t i = 0; i < 500; i++) {
        uint64_t seen = *counter;

        expect("thread_affinity", aero_thread_affinity(other.handle, i % count), 0);
        if (i % 16 == 0)
            while (*counter == seen)
                aero_thread_yield();
    }
    expect("thread_kill", aero_thread_kill(other.handle), 0);
    expect("thread_affinity of the killed", aero_thread_affinity(other.handle, 0), -AERO_ECHILD);
    expect("its status", aero_thread_wait(&other), KILLED);
}

static void move_spinning(void)
{
    move_while(spins, &turns);
}

/* Calls in a row, each with a result of its own: none may be lost or served twice. */
static int calls(void *argument)
{
    uint64_t address = 0x700000000000UL;

    begun = 1;
    while (!argument) {
        expect("mmap of a thread that is moved", aero_mmap(address, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE), 0);
        *(volatile uint64_t *)address = address;
        expect("munmap of a thread that is moved", aero_munmap(address, AERO_PAGE_SIZE), 0);
        address += AERO_PAGE_SIZE;
        turns++;
    }
    return 0;
}

static void move_calling(void)
{
    move_while(calls, &turns);
}

static void move_blocked(void)
{
    struct aero_thread spinner, joiner;
    uint64_t count = cores();

    must("spawn", aero_thread_spawn(&spinner, yields, NULL));
    await(&begun);
    begun = 0;
    must("spawn", aero_thread_spawn(&joiner, joins, &spinner.handle));
    await(&begun);
    for (uint64_t i = 0; i < 50; i++) {
        expect("thread_affinity of the joiner", aero_thread_affinity(joiner.handle, i % count), 0);
        aero_thread_yield();
    }
    expect("thread_kill of the joined", aero_thread_kill(spinner.handle), 0);
    expect("what its joiner got", aero_thread_wait(&joiner), KILLED);
}

/* Threads on every core, of which one is given away while they spin, and comes back. */
static void give_a_core(void)
{
    static struct aero_thread others[5];
    uint64_t count = cores();
    aero_handle container, process;

    expect("a container with all cores", aero_container_create(100, 0, 0, count), -AERO_ENOMEM);
    if (count == 1)
        return;
    for (int i = 0; i < 5; i++)
        must("spawn", aero_thread_spawn(&others[i], i % 3 ? yields : spins, NULL));
    for (int round = 0; round < 10; round++) {
        uint64_t seen = turns;

        ran[1] = 0;
        container = (aero_handle)must("container_create", aero_container_create(100, 0, 0, 1));
        expect("cores that are left", (int64_t)cores(), (int64_t)count - 1);
        expect("cores of the child", aero_container_query(container, AERO_QUERY_CORES_OWNED), 1);
        expect("thread_affinity to the given core", aero_thread_affinity(0, count - 1), -AERO_EINVAL);
        process = offspring(container, counts, 1);
        await(&ran[1]);
        await(&turns);
        while (turns == seen)
            aero_thread_yield();
        if (round % 2)
            expect("process_kill", aero_process_kill(process), 0);
        expect("container_kill", aero_container_kill(container), 0);
        expect("cores that are back", (int64_t)cores(), (int64_t)count);
        seen = ran[1];
        aero_thread_yield();
        aero_thread_yield();
        expect("what ran in the container", (int64_t)ran[1], (int64_t)seen);
    }
    for (int i = 0; i < 5; i++) {
        expect("thread_affinity to the core that came back", aero_thread_affinity(others[i].handle, count - 1), 0);
        expect("thread_kill", aero_thread_kill(others[i].handle), 0);
        expect("its status", aero_thread_wait(&others[i]), KILLED);
    }
}

static void ask(void)
{
    int64_t left = aero_container_query(0, AERO_QUERY_PAGES_LEFT), used = aero_container_query(0, AERO_QUERY_PAGES_USED);
    aero_handle container = (aero_handle)must("container_create", aero_container_create(7, 0, 0, 0));

    expect("pages left to the child", aero_container_query(container, AERO_QUERY_PAGES_LEFT), 7);
    expect("pages the child uses", aero_container_query(container, AERO_QUERY_PAGES_USED), 0);
    expect("depth of the child", aero_container_query(container, AERO_QUERY_DEPTH),
           aero_container_query(0, AERO_QUERY_DEPTH) + 1);
    expect("cores that the child owns", aero_container_query(container, AERO_QUERY_CORES_OWNED), 0);
    expect("cores of the child", aero_container_query(container, AERO_QUERY_CORES), (int64_t)cores());
    expect("containers below", aero_container_query(0, AERO_QUERY_CONTAINERS), 1);
    must("process_create_in", aero_process_create_in(container));
    expect("processes in the child", aero_container_query(container, AERO_QUERY_PROCESSES), 1);
    expect("pages the child uses now", aero_container_query(container, AERO_QUERY_PAGES_USED), 2);
    expect("pages used", aero_container_query(0, AERO_QUERY_PAGES_USED), used + 1);
    must("container_kill", aero_container_kill(container));
    expect("pages left afterwards", aero_container_query(0, AERO_QUERY_PAGES_LEFT), left);
    expect("containers left", aero_container_query(0, AERO_QUERY_CONTAINERS), 0);
}

/* --- Thousands --- */

/* A thread that needs no stack: its argument is its status. */
void ends(void);
__asm__(".globl ends\nends: mov $0x1007, %eax\nsyscall\nud2\n");
_Static_assert(AERO_CALL_thread_exit == 0x1007, "the number above");

/* As many threads at once, and as many processes, each with one page. */
static int thousands(uint64_t threads, uint64_t processes)
{
    static aero_handle handles[4096];
    uint64_t page = (uint64_t)ends & ~(AERO_PAGE_SIZE - 1);
    int64_t used = aero_container_query(0, AERO_QUERY_PAGES_USED);

    if (threads > 4096 || processes > 4096)
        return 2;
    for (uint64_t i = 0; i < threads; i++)
        handles[i] = (aero_handle)must("thread_create", aero_thread_create((void *)ends, (void *)AERO_USER_MIN, i));
    for (uint64_t i = 0; i < threads; i++)
        expect("a thread's status", aero_thread_join(handles[i]), (int64_t)i);
    for (uint64_t i = 0; i < processes; i++) {
        handles[i] = (aero_handle)must("process_create", aero_process_create());
        must("process_share", aero_process_share(handles[i], page, AERO_PAGE_SIZE, page, AERO_READ | AERO_EXECUTE));
        must("process_start", aero_process_start(handles[i], (void *)ends, (void *)AERO_USER_MIN, i));
    }
    for (uint64_t i = 0; i < processes; i++)
        expect("a process's status", aero_process_wait(handles[i]), (int64_t)i);
    expect("pages used afterwards", aero_container_query(0, AERO_QUERY_PAGES_USED), used);
    return verdict("thousands");
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
    {"move-oneself", move_oneself},
    {"move-spinning", move_spinning},
    {"move-calling", move_calling},
    {"move-blocked", move_blocked},
    {"give-a-core", give_a_core},
    {"ask", ask},
};

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "thousands") == 0)
        return thousands(number_or(argv[2], 0), number_or(argv[3], 0));
    for (size_t i = 0; argc > 1 && i < sizeof scenes / sizeof scenes[0]; i++)
        if (strcmp(argv[1], scenes[i].name) == 0) {
            scenes[i].play();
            return verdict(argv[1]);
        }
    return 2;
}
