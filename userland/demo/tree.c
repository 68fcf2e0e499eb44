/* A tree of containers, four generations deep with a process in each, that is ended by one call from the top.
 *
 * Each process makes two containers out of its own quota, starts a process in each and waits for both; the youngest
 * work for ever.  None of them knows how many there are below it, and none is asked when the tree is ended: its pages,
 * page tables, threads, processes and containers are all the gardener's again, who counts before and after. */
#include <aero.h>

#define GENERATIONS 4
#define CHILDREN 2
#define PROCESSES 15 /* 1 + 2 + 4 + 8 */
#define OWN_PAGES 32 /* enough for one process: its page tables, its thread, stacks for its children */
#define GARDEN 2000  /* pages */
#define PAGES 0x400000000UL

/* The processes share the program, and so its variables. */
static uint64_t alive, work;

/* Pages for a process of this generation and for all below it; a container's own page is charged to its parent. */
static uint64_t quota(uint64_t generation)
{
    return generation == GENERATIONS ? OWN_PAGES : OWN_PAGES + CHILDREN * (quota(generation + 1) + 1);
}

static void grow(uint64_t generation, aero_handle *container, struct aero_child *child);

static int live(void *argument)
{
    uint64_t generation = (uint64_t)argument;
    aero_handle containers[CHILDREN];
    struct aero_child children[CHILDREN];

    __atomic_fetch_add(&alive, 1, __ATOMIC_RELAXED);
    while (generation == GENERATIONS) {
        __atomic_fetch_add(&work, 1, __ATOMIC_RELAXED);
        aero_thread_yield();
    }
    for (int i = 0; i < CHILDREN; i++)
        grow(generation + 1, &containers[i], &children[i]);
    return (int)aero_child_wait(&children[0]); /* which never comes */
}

static void grow(uint64_t generation, aero_handle *container, struct aero_child *child)
{
    *container = (aero_handle)aero_must(aero_container_create(quota(generation), 0, 0, 0), "container_create");
    aero_must(aero_child_create(child, *container), "aero_child_create");
    aero_must(aero_child_start(child, live, (void *)generation), "aero_child_start");
}

/* How many pages the caller's container still has, found out by taking them all. */
static int64_t pages_left(void)
{
    uint64_t count = 0;

    while (!aero_failed(aero_mmap(PAGES + count * AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ)))
        count++;
    aero_must(aero_munmap(PAGES, count * AERO_PAGE_SIZE), "munmap");
    return (int64_t)count;
}

static void say(const char *text, int64_t number, const char *rest)
{
    aero_print(text);
    aero_print_number(number);
    aero_print(rest);
}

static int garden(void *argument)
{
    int64_t before = pages_left(), meanwhile, after;
    aero_handle trunk;
    struct aero_child child;
    uint64_t done;

    (void)argument;
    grow(1, &trunk, &child);
    while (__atomic_load_n(&alive, __ATOMIC_RELAXED) < PROCESSES || __atomic_load_n(&work, __ATOMIC_RELAXED) < 100)
        aero_thread_yield();
    meanwhile = pages_left();
    say("grown: ", (int64_t)alive, " processes");
    say(" in as many containers, the deepest ", GENERATIONS, " below the gardener's\n");

    /* They are in the middle of whatever they do, on this core and on others. */
    aero_must(aero_container_kill(trunk), "container_kill");
    done = __atomic_load_n(&work, __ATOMIC_RELAXED);
    aero_must(aero_munmap(child.stack, AERO_CHILD_STACK_SIZE), "munmap of the first one's stack");
    for (int i = 0; i < 100; i++)
        aero_thread_yield();
    say("killed: ", (int64_t)(__atomic_load_n(&work, __ATOMIC_RELAXED) - done), " steps were done after that\n");

    after = pages_left();
    if (before != after || meanwhile >= before - (int64_t)quota(1)) {
        say("pages before: ", before, "");
        say(", with the tree: ", meanwhile, "");
        say(", after: ", after, "\n");
        return 1;
    }
    aero_print("every page came back\n");
    return 0;
}

/* The gardener has a container of its own too, so that what it counts is nobody else's. */
int main(void)
{
    aero_handle container = (aero_handle)aero_must(aero_container_create(GARDEN, 0, 0, 0), "container_create");
    struct aero_child gardener;

    aero_must(aero_child_create(&gardener, container), "aero_child_create");
    aero_must(aero_child_start(&gardener, garden, NULL), "aero_child_start");
    return (int)aero_must(aero_child_wait(&gardener), "aero_child_wait");
}
