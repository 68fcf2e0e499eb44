/* 1 GiB pages, for a machine of 3 GiB, which has two of them:  giants NAME
 *
 *   whole        1 GiB mapped as one is reached everywhere, cut nowhere, and zero when it is mapped again
 *   mixed        a range with pages, blocks and a 1 GiB page, mapped, protected and unmapped in one call each
 *   shared       a child reads and writes the parent's 1 GiB page, and still has it when the parent has not
 *   narrower     a child that may only read it ends when it writes
 *   moved        one that a message carries to another container is its alone, and paid for there
 *   container    a container with a quota of one uses it, and has none after that
 *   quota        what two 1 GiB pages leave is given out in smaller ones, and all of it comes back
 *   write        writing to one that was made read-only ends the program
 *   use          using one that was unmapped ends the program */
#include "scenes.h"

#define GIANT 0x4000000000UL
#define SECOND (GIANT + 4 * AERO_GIANT_SIZE)
#define THIRD (GIANT + 8 * AERO_GIANT_SIZE)
#define MIXED (SECOND - AERO_BLOCK_SIZE - 2 * AERO_PAGE_SIZE)
#define MIXED_LENGTH (AERO_GIANT_SIZE + 2 * AERO_BLOCK_SIZE + 5 * AERO_PAGE_SIZE)
#define BOTH (AERO_READ | AERO_WRITE)

static volatile uint64_t *word_at(uint64_t address)
{
    return (volatile uint64_t *)address;
}

/* Places all over a range, with the first and the last word of it. */
static void mark(uint64_t address, uint64_t length, uint64_t with)
{
    for (uint64_t i = 0; i < 16; i++)
        *word_at(address + i * (length / 16) / 8 * 8) = with + i;
    *word_at(address + length - 8) = with + 16;
}

static bool marked(uint64_t address, uint64_t length, uint64_t with)
{
    for (uint64_t i = 0; i < 16; i++)
        if (*word_at(address + i * (length / 16) / 8 * 8) != (with ? with + i : 0))
            return false;
    return *word_at(address + length - 8) == (with ? with + 16 : 0);
}

static void whole(void)
{
    expect("mmap", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), 0);
    expect_true("it is zero", marked(GIANT, AERO_GIANT_SIZE, 0));
    mark(GIANT, AERO_GIANT_SIZE, 7);
    expect_true("it keeps what is written", marked(GIANT, AERO_GIANT_SIZE, 7));

    expect("mmap of a page in it", aero_mmap(GIANT + 77 * AERO_PAGE_SIZE, AERO_PAGE_SIZE, BOTH), -AERO_EEXIST);
    expect("mmap of a block in it", aero_mmap(GIANT + AERO_BLOCK_SIZE, AERO_BLOCK_SIZE, BOTH), -AERO_EEXIST);
    expect("mmap of it again", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), -AERO_EEXIST);
    expect("mmap across its end",
           aero_mmap(GIANT + AERO_GIANT_SIZE - AERO_PAGE_SIZE, 2 * AERO_PAGE_SIZE, BOTH), -AERO_EEXIST);
    expect("munmap of its first page", aero_munmap(GIANT, AERO_PAGE_SIZE), -AERO_EINVAL);
    expect("munmap of its first block", aero_munmap(GIANT, AERO_BLOCK_SIZE), -AERO_EINVAL);
    expect("munmap of its second half", aero_munmap(GIANT + AERO_GIANT_SIZE / 2, AERO_GIANT_SIZE / 2), -AERO_EINVAL);
    expect("mprotect of a page in it",
           aero_mprotect(GIANT + 5 * AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ), -AERO_EINVAL);
    expect("mprotect of all but a page",
           aero_mprotect(GIANT, AERO_GIANT_SIZE - AERO_PAGE_SIZE, AERO_READ), -AERO_EINVAL);
    expect_true("nothing of that has changed it", marked(GIANT, AERO_GIANT_SIZE, 7));

    expect("mprotect", aero_mprotect(GIANT, AERO_GIANT_SIZE, AERO_READ), 0);
    expect_true("it is still there", marked(GIANT, AERO_GIANT_SIZE, 7));
    expect("mprotect to none", aero_mprotect(GIANT, AERO_GIANT_SIZE, 0), 0);
    expect("mprotect back", aero_mprotect(GIANT, AERO_GIANT_SIZE, BOTH), 0);
    expect_true("it is there again", marked(GIANT, AERO_GIANT_SIZE, 7));
    mark(GIANT, AERO_GIANT_SIZE, 9);
    expect("munmap", aero_munmap(GIANT, AERO_GIANT_SIZE), 0);
    expect("munmap again", aero_munmap(GIANT, AERO_GIANT_SIZE), -AERO_EFAULT);
    for (int i = 0; i < 3; i++) {
        expect("mmap elsewhere", aero_mmap(SECOND, AERO_GIANT_SIZE, BOTH), 0);
        expect_true("it is zero again", marked(SECOND, AERO_GIANT_SIZE, 0));
        mark(SECOND, AERO_GIANT_SIZE, 11);
        expect("munmap", aero_munmap(SECOND, AERO_GIANT_SIZE), 0);
    }
}

static void mixed(void)
{
    for (uint64_t round = 1; round <= 3; round++) {
        expect("mmap of pages, blocks and a giant", aero_mmap(MIXED, MIXED_LENGTH, BOTH), 0);
        for (uint64_t at = MIXED; at < SECOND; at += AERO_PAGE_SIZE) {
            expect("a word before the giant", *word_at(at), 0);
            *word_at(at) = at;
        }
        expect_true("the giant is zero", marked(SECOND, AERO_GIANT_SIZE, 0));
        mark(SECOND, AERO_GIANT_SIZE, 3);
        for (uint64_t at = SECOND + AERO_GIANT_SIZE; at < MIXED + MIXED_LENGTH; at += AERO_PAGE_SIZE) {
            expect("a word behind the giant", *word_at(at), 0);
            *word_at(at) = at;
        }
        expect("munmap that cuts the giant", aero_munmap(MIXED, SECOND + AERO_GIANT_SIZE / 2 - MIXED), -AERO_EINVAL);
        expect("mprotect of all", aero_mprotect(MIXED, MIXED_LENGTH, AERO_READ), 0);
        for (uint64_t at = MIXED; at < SECOND; at += AERO_PAGE_SIZE)
            expect("a word before the giant", *word_at(at), at);
        expect_true("the giant is as it was", marked(SECOND, AERO_GIANT_SIZE, 3));
        expect("mprotect of all", aero_mprotect(MIXED, MIXED_LENGTH, BOTH), 0);
        if (round == 2) {
            /* The giant alone goes; what is around it stays. */
            expect("munmap of the giant", aero_munmap(SECOND, AERO_GIANT_SIZE), 0);
            expect("munmap of all, with a hole", aero_munmap(MIXED, MIXED_LENGTH), -AERO_EFAULT);
            *word_at(MIXED) = 1;
            *word_at(SECOND + AERO_GIANT_SIZE) = 1;
            expect("mmap of a block in its place", aero_mmap(SECOND + AERO_BLOCK_SIZE, AERO_BLOCK_SIZE, BOTH), 0);
            expect("mmap of the giant over it", aero_mmap(SECOND, AERO_GIANT_SIZE, BOTH), -AERO_EEXIST);
            expect("munmap of the block", aero_munmap(SECOND + AERO_BLOCK_SIZE, AERO_BLOCK_SIZE), 0);
            expect("mmap of the giant again", aero_mmap(SECOND, AERO_GIANT_SIZE, BOTH), 0);
            expect_true("it is zero", marked(SECOND, AERO_GIANT_SIZE, 0));
        }
        expect("munmap of all", aero_munmap(MIXED, MIXED_LENGTH), 0);
    }
}

static int uses_it(void *argument)
{
    uint64_t address = (uint64_t)argument;

    if (!marked(address, AERO_GIANT_SIZE, 5))
        return 2;
    mark(address, AERO_GIANT_SIZE, 6);
    return 0;
}

static int writes_it(void *argument)
{
    uint64_t address = (uint64_t)argument;

    if (!marked(address, AERO_GIANT_SIZE, 5))
        return 2;
    *word_at(address + AERO_GIANT_SIZE / 2) = 1; /* ends here */
    return 3;
}

static int64_t with_a_child(int (*function)(void *), uint64_t protection, bool keep)
{
    struct aero_child made;

    must("aero_child_create", aero_child_create(&made, 0));
    must("mmap", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH));
    mark(GIANT, AERO_GIANT_SIZE, 5);
    expect("process_share of a part",
           aero_process_share(made.process, GIANT, AERO_BLOCK_SIZE, GIANT, protection), -AERO_EINVAL);
    expect("process_share to where it does not fit",
           aero_process_share(made.process, GIANT, AERO_GIANT_SIZE, SECOND + AERO_BLOCK_SIZE, protection), -AERO_EINVAL);
    expect("process_share with more than the parent may",
           aero_process_share(made.process, GIANT, AERO_GIANT_SIZE, SECOND, BOTH | AERO_EXECUTE), -AERO_EINVAL);
    expect("process_share", aero_process_share(made.process, GIANT, AERO_GIANT_SIZE, SECOND, protection), 0);
    expect("process_share to where it is",
           aero_process_share(made.process, GIANT, AERO_GIANT_SIZE, SECOND, protection), -AERO_EEXIST);
    if (!keep)
        expect("munmap of the parent's", aero_munmap(GIANT, AERO_GIANT_SIZE), 0);
    must("aero_child_start", aero_child_start(&made, function, (void *)SECOND));
    return aero_child_wait(&made);
}

static void shared(void)
{
    expect("the child's status", with_a_child(uses_it, BOTH, true), 0);
    expect_true("the child has written", marked(GIANT, AERO_GIANT_SIZE, 6));
    expect("munmap", aero_munmap(GIANT, AERO_GIANT_SIZE), 0);
    expect("the child's status", with_a_child(uses_it, BOTH, false), 0);
    expect("mmap", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), 0);
    expect_true("what was the child's is zero", marked(GIANT, AERO_GIANT_SIZE, 0));
    expect("munmap", aero_munmap(GIANT, AERO_GIANT_SIZE), 0);
}

static void narrower(void)
{
    expect("the child's status", with_a_child(writes_it, AERO_READ, true), 139);
    expect_true("the child has not written", marked(GIANT, AERO_GIANT_SIZE, 5));
}

static int takes_it(void *argument)
{
    struct aero_message message = {0};

    if (aero_message_accept(SECOND, AERO_GIANT_SIZE + AERO_PAGE_SIZE, 0))
        return 2;
    if (aero_message_receive((aero_handle)argument, AERO_FOREVER, &message) || message.object != SECOND)
        return 3;
    if (!marked(SECOND, AERO_GIANT_SIZE, 5))
        return 4;
    mark(SECOND, AERO_GIANT_SIZE, 6);
    /* It is paid for here: there is no quota for another one. */
    return aero_mmap(THIRD, AERO_GIANT_SIZE, BOTH) == -AERO_ENOMEM ? 0 : 5;
}

static int64_t move_to(aero_handle container, uint64_t address, uint64_t length, int64_t expected)
{
    struct aero_child taker = new_child(container);
    aero_handle endpoint = new_endpoint();
    struct aero_message message = {.item = AERO_MOVE(length, BOTH), .object = address};

    start(&taker, takes_it, give(&taker, endpoint, AERO_RECEIVE));
    expect("message_send", aero_message_send(endpoint, AERO_FOREVER, &message), expected);
    if (expected)
        expect("process_kill", aero_process_kill(taker.process), 0);
    return aero_child_wait(&taker);
}

static void moved(void)
{
    aero_handle rich = (aero_handle)must("container_create", aero_container_create(60, 0, 1, 0));
    aero_handle poor = (aero_handle)must("container_create", aero_container_create(60, 0, 0, 0));

    expect("mmap", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), 0);
    expect("mmap without a giant", aero_mmap(THIRD, AERO_GIANT_SIZE, BOTH), -AERO_ENOMEM);
    mark(GIANT, AERO_GIANT_SIZE, 5);
    expect("a taker without quota", move_to(poor, GIANT, AERO_GIANT_SIZE, -AERO_ENOMEM), 137);
    expect("a taker of half", move_to(rich, GIANT, AERO_GIANT_SIZE / 2, -AERO_EINVAL), 137);
    expect_true("it is as it was", marked(GIANT, AERO_GIANT_SIZE, 5));
    expect("a taker", move_to(rich, GIANT, AERO_GIANT_SIZE, 0), 0);
    expect("munmap of what has gone", aero_munmap(GIANT, AERO_GIANT_SIZE), -AERO_EFAULT);
    /* What the sender no longer has, it no longer pays for. */
    expect("mmap", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), 0);
    expect_true("it is another one", marked(GIANT, AERO_GIANT_SIZE, 0));
    expect("munmap", aero_munmap(GIANT, AERO_GIANT_SIZE), 0);
    expect("container_kill", aero_container_kill(rich), 0);
    expect("container_kill", aero_container_kill(poor), 0);
    for (uint64_t i = 0; i < 2; i++)
        expect("mmap", aero_mmap(GIANT + i * AERO_GIANT_SIZE, AERO_GIANT_SIZE, BOTH), 0);
}

static int maps_its_own(void *argument)
{
    (void)argument;
    if (aero_mmap(SECOND, AERO_GIANT_SIZE, BOTH))
        return 2;
    if (!marked(SECOND, AERO_GIANT_SIZE, 0))
        return 3;
    mark(SECOND, AERO_GIANT_SIZE, 8);
    return aero_mmap(THIRD, AERO_GIANT_SIZE, BOTH) == -AERO_ENOMEM ? 0 : 4;
}

static void container(void)
{
    struct aero_child made;
    aero_handle where = (aero_handle)must("container_create", aero_container_create(40, 0, 1, 0));

    expect("container_create with more giants than are left", aero_container_create(4, 0, 2, 0), -AERO_ENOMEM);
    must("aero_child_create", aero_child_create(&made, where));
    must("aero_child_start", aero_child_start(&made, maps_its_own, NULL));
    expect("the child's status", aero_child_wait(&made), 0);
    expect("container_kill", aero_container_kill(where), 0);
    where = (aero_handle)must("container_create with both", aero_container_create(4, 0, 2, 0));
    expect("mmap without a giant", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), -AERO_ENOMEM);
    expect("container_kill", aero_container_kill(where), 0);
    expect("mmap", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), 0);
    expect_true("it is zero", marked(GIANT, AERO_GIANT_SIZE, 0));
}

static void quota(void)
{
    uint64_t blocks = 0;

    expect("mmap", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), 0);
    expect("mmap", aero_mmap(SECOND, AERO_GIANT_SIZE, BOTH), 0);
    expect("mmap of a third", aero_mmap(THIRD, AERO_GIANT_SIZE, BOTH), -AERO_ENOMEM);
    while (aero_mmap(THIRD + blocks * AERO_BLOCK_SIZE, AERO_BLOCK_SIZE, BOTH) == 0)
        blocks++;
    expect_true("hundreds of blocks are left", blocks > 300);
    expect("munmap of the blocks", aero_munmap(THIRD, blocks * AERO_BLOCK_SIZE), 0);
    /* One of the two in blocks, for there are not so many of those: it is split, and whole again. */
    expect("munmap", aero_munmap(GIANT, AERO_GIANT_SIZE), 0);
    expect("mmap by blocks", aero_mmap(THIRD + AERO_PAGE_SIZE, AERO_GIANT_SIZE + AERO_GIANT_SIZE / 4, BOTH), 0);
    expect("mmap without a giant", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), -AERO_ENOMEM);
    expect("munmap of the blocks", aero_munmap(THIRD + AERO_PAGE_SIZE, AERO_GIANT_SIZE + AERO_GIANT_SIZE / 4), 0);
    expect("mmap", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH), 0);
    expect_true("it is zero", marked(GIANT, AERO_GIANT_SIZE, 0));
    expect("munmap", aero_munmap(GIANT, AERO_GIANT_SIZE), 0);
    expect("munmap", aero_munmap(SECOND, AERO_GIANT_SIZE), 0);
}

/* Reads or writes where it may not any more. */
static void reach(int64_t taken)
{
    must("what takes it away", taken);
    *word_at(GIANT + AERO_GIANT_SIZE / 2) = 1;
    wrong("it went on", 0, 1);
}

static void map_and_mark(void)
{
    must("mmap", aero_mmap(GIANT, AERO_GIANT_SIZE, BOTH));
    mark(GIANT, AERO_GIANT_SIZE, 1);
}

static void write_it(void)
{
    map_and_mark();
    reach(aero_mprotect(GIANT, AERO_GIANT_SIZE, AERO_READ));
}

static void use_it(void)
{
    map_and_mark();
    reach(aero_munmap(GIANT, AERO_GIANT_SIZE));
}

int main(int argc, char **argv)
{
    static const struct scene scenes[] = {
        {"whole", whole},         {"mixed", mixed}, {"shared", shared},  {"narrower", narrower}, {"moved", moved},
        {"container", container}, {"quota", quota}, {"write", write_it}, {"use", use_it},
    };

    return play(scenes, sizeof scenes / sizeof *scenes, argc, argv);
}
