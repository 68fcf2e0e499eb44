/* Takes all there is of something, then checks that what is left works and that giving it back gives back all of it.
 *
 *   exhaust memory      4 KiB pages, 64 KiB a call, each written
 *   exhaust blocks      2 MiB pages, 2 MiB a call
 *   exhaust tables      one page in every GiB: each needs page tables of its own
 *   exhaust threads     threads, on one-page stacks
 *   exhaust processes   child processes, never started
 *   exhaust leave       takes all memory and exits: the next program must be able to do the same */
#include "check.h"

#define AREA 0x100000000UL /* free up to the thread stacks at 0x600000000000 */
#define MOST_OBJECTS 4096

static uint64_t step, length;

/* Maps until it fails; returns how many succeeded. */
static uint64_t take_all(void)
{
    for (uint64_t count = 0;; count++) {
        uint64_t address = AREA + count * step;
        int64_t result = aero_mmap(address, length, AERO_READ | AERO_WRITE);

        if (result) {
            expect("why mmap ended", result, -AERO_ENOMEM);
            return count;
        }
        for (uint64_t page = 0; page < length; page += AERO_PAGE_SIZE) {
            volatile uint64_t *word = (uint64_t *)(address + page);

            if (*word)
                wrong("the first word of a new page", (int64_t)*word, 0);
            *word = address + page;
        }
    }
}

static void give_back(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t address = AREA + i * step;

        for (uint64_t page = 0; page < length; page += AERO_PAGE_SIZE)
            if (*(volatile uint64_t *)(address + page) != address + page)
                wrong("the first word of a page", *(volatile int64_t *)(address + page), (int64_t)(address + page));
        expect("munmap", aero_munmap(address, length), 0);
    }
}

static void memory(uint64_t every, uint64_t size)
{
    uint64_t first, second;

    step = every;
    length = size;
    first = take_all();
    aero_print_number((int64_t)first);
    aero_print(" mappings\n");
    expect_true("there was room for some", first >= 4);
    expect("null when memory is used up", aero_null(), 0);
    /* One back, one again. */
    expect("munmap when memory is used up", aero_munmap(AREA, length), 0);
    expect("mmap of what was given back", aero_mmap(AREA, length, AERO_READ | AERO_WRITE), 0);
    expect("it is zero", *(volatile int64_t *)AREA, 0);
    for (uint64_t page = 0; page < length; page += AERO_PAGE_SIZE)
        *(volatile uint64_t *)(AREA + page) = AREA + page;
    give_back(first);
    second = take_all();
    expect("mappings the second time", (int64_t)second, (int64_t)first);
    give_back(second);
}

static void rest(void)
{
    aero_thread_exit(9);
}

static void threads(void)
{
    static aero_handle handles[MOST_OBJECTS];
    uint64_t counts[2];

    for (int round = 0; round < 2; round++) {
        uint64_t count = 0;

        for (; count < MOST_OBJECTS; count++) {
            uint64_t stack = AREA + count * 2 * AERO_PAGE_SIZE;
            int64_t result = aero_mmap(stack, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE);

            if (result == 0)
                result = aero_thread_create((void *)rest, (void *)(stack + AERO_PAGE_SIZE), 0);
            if (aero_failed(result)) {
                if (result != -AERO_ENOMEM && result != -AERO_ENOSPC && result != -AERO_EAGAIN)
                    wrong("why it ended", result, -AERO_ENOSPC);
                aero_munmap(stack, AERO_PAGE_SIZE);
                break;
            }
            handles[count] = (aero_handle)result;
        }
        for (uint64_t i = 0; i < count; i++) {
            expect("thread_join", aero_thread_join(handles[i]), 9);
            expect("munmap", aero_munmap(AREA + i * 2 * AERO_PAGE_SIZE, AERO_PAGE_SIZE), 0);
        }
        counts[round] = count;
    }
    aero_print_number((int64_t)counts[0]);
    aero_print(" threads\n");
    expect_true("there was room for some", counts[0] >= 8);
    expect("threads the second time", (int64_t)counts[1], (int64_t)counts[0]);
}

static void processes(void)
{
    uint64_t count = 0;
    int64_t result = 0;

    for (; count < MOST_OBJECTS; count++) {
        result = aero_process_create();
        if (aero_failed(result))
            break;
    }
    aero_print_number((int64_t)count);
    aero_print(" processes\n");
    expect_true("there was room for some", count >= 4);
    if (aero_failed(result) && result != -AERO_ENOMEM && result != -AERO_ENOSPC)
        wrong("why it ended", result, -AERO_ENOSPC);
    expect("null afterwards", aero_null(), 0);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "memory";

    if (strcmp(what, "memory") == 0)
        memory(64 << 10, 64 << 10);
    else if (strcmp(what, "blocks") == 0)
        memory(AERO_BLOCK_SIZE, AERO_BLOCK_SIZE);
    else if (strcmp(what, "tables") == 0)
        memory(1UL << 30, AERO_PAGE_SIZE);
    else if (strcmp(what, "threads") == 0)
        threads();
    else if (strcmp(what, "processes") == 0)
        processes();
    else if (strcmp(what, "leave") == 0) {
        step = length = 64 << 10;
        aero_print_number((int64_t)take_all());
        aero_print(" mappings left\n");
    } else
        return 2;
    return verdict("exhaust");
}
