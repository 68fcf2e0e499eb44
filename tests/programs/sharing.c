/* Pages that two processes map:  sharing NAME
 *
 *   own-rights     the child may only read what its parent writes, and sees each write; writing ends it
 *   narrower       taking the parent's rights away leaves the child its own, and the other way round
 *   outlives       the parent unmaps; the child still has the page, and what the parent maps then is another one
 *   after-child    the child ends; the parent still has the page and what the child wrote
 *   not-again      pages that were the child's alone are zero when the parent gets them
 *   block          as outlives, with a 2 MiB page */
#include "check.h"

#define STACK 0x200000000UL
#define STACK_TOP (STACK + 4 * AERO_PAGE_SIZE)
#define PAGE 0x210000000UL
#define TALK 0x220000000UL
#define BLOCK 0x240000000UL
#define LATER 0x280000000UL
#define WORD 0x5ec2e75ec2e75ec2UL

/* A page both may write: what they tell each other by. */
static volatile uint64_t *const talk = (uint64_t *)TALK;

static void wait_for(uint64_t number)
{
    while (talk[0] != number)
        aero_thread_yield();
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void tell(uint64_t number)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    talk[0] = number;
}

static volatile uint64_t *word_at(uint64_t address)
{
    return (volatile uint64_t *)address;
}

static int reads_then_writes(void *argument)
{
    (void)argument;
    for (uint64_t i = 1; i <= 10; i++) {
        wait_for(2 * i);
        if (*word_at(PAGE) != i)
            return 2;
        tell(2 * i + 1);
    }
    *word_at(PAGE) = WORD;
    return 3;
}

static int uses_both_times(void *argument)
{
    uint64_t address = (uint64_t)argument;

    *word_at(address) = WORD;
    tell(1);
    wait_for(2);
    if (*word_at(address) != WORD)
        return 2;
    *word_at(address) = WORD + 1;
    return *word_at(address) == WORD + 1 ? 0 : 4;
}

static int drops_its_own(void *argument)
{
    (void)argument;
    *word_at(PAGE) = WORD;
    if (aero_mprotect(PAGE, AERO_PAGE_SIZE, AERO_READ))
        return 2;
    tell(1);
    *word_at(PAGE) = 1; /* ends here */
    return 3;
}

static int maps_its_own(void *argument)
{
    (void)argument;
    if (aero_mmap(LATER, 64 * AERO_PAGE_SIZE, AERO_READ | AERO_WRITE))
        return 2;
    for (uint64_t at = LATER; at < LATER + 64 * AERO_PAGE_SIZE; at += 8)
        *word_at(at) = WORD;
    return 0;
}

static aero_handle child(int (*function)(void *), uint64_t address, uint64_t size, uint64_t protection)
{
    aero_handle process = (aero_handle)must("process_create", aero_process_create());

    must("mmap", aero_mmap(STACK, STACK_TOP - STACK, AERO_READ | AERO_WRITE));
    must("mmap", aero_mmap(TALK, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    must("mmap", aero_mmap(address, size, AERO_READ | AERO_WRITE));
    must("process_share of the program", aero_process_share_program(process));
    must("process_share", aero_process_share(process, STACK, STACK_TOP - STACK, STACK, AERO_READ | AERO_WRITE));
    must("process_share", aero_process_share(process, TALK, AERO_PAGE_SIZE, TALK, AERO_READ | AERO_WRITE));
    must("process_share", aero_process_share(process, address, size, address, protection));
    must("process_start", aero_process_run(process, function, (void *)address, STACK_TOP));
    return process;
}

static void expect_fault(int64_t status)
{
    expect("the child's status", status, 139);
}

static void own_rights(void)
{
    aero_handle process = child(reads_then_writes, PAGE, AERO_PAGE_SIZE, AERO_READ);

    for (uint64_t i = 1; i <= 10; i++) {
        *word_at(PAGE) = i;
        tell(2 * i);
        wait_for(2 * i + 1);
    }
    expect_fault(aero_process_wait(process));
    expect("the parent's word", *word_at(PAGE), 10);
}

static void narrower(void)
{
    aero_handle process = child(uses_both_times, PAGE, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE);

    wait_for(1);
    must("mprotect", aero_mprotect(PAGE, AERO_PAGE_SIZE, AERO_NONE));
    tell(2);
    expect("the child, whose rights are its own", aero_process_wait(process), 0);
    must("mprotect", aero_mprotect(PAGE, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    expect("the child's last word", *word_at(PAGE), WORD + 1);

    must("munmap", aero_munmap(STACK, STACK_TOP - STACK));
    must("munmap", aero_munmap(TALK, AERO_PAGE_SIZE));
    must("munmap", aero_munmap(PAGE, AERO_PAGE_SIZE));
    process = child(drops_its_own, PAGE, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE);
    wait_for(1);
    *word_at(PAGE) = WORD + 2; /* the parent still may */
    expect_fault(aero_process_wait(process));
    expect("the parent's word", *word_at(PAGE), WORD + 2);
}

static void outlives(uint64_t address, uint64_t size)
{
    aero_handle process = child(uses_both_times, address, size, AERO_READ | AERO_WRITE);

    wait_for(1);
    expect("the child's word", *word_at(address), WORD);
    must("munmap", aero_munmap(address, size));
    /* At the same place and elsewhere: neither may be the page that the child still has. */
    must("mmap", aero_mmap(address, size, AERO_READ | AERO_WRITE));
    must("mmap", aero_mmap(LATER, size, AERO_READ | AERO_WRITE));
    expect("a new page at the old place", *word_at(address), 0);
    expect("a new page", *word_at(LATER), 0);
    *word_at(address) = *word_at(LATER) = 7;
    tell(2);
    expect("the child that kept its page", aero_process_wait(process), 0);
    expect("the new page at the old place", *word_at(address), 7);
    expect("the new page", *word_at(LATER), 7);
}

static void after_child(void)
{
    aero_handle process = child(uses_both_times, PAGE, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE);

    wait_for(1);
    tell(2);
    expect("the child's status", aero_process_wait(process), 0);
    expect("what the child wrote", *word_at(PAGE), WORD + 1);
    *word_at(PAGE) = 1;
    must("mmap", aero_mmap(LATER, AERO_BLOCK_SIZE, AERO_READ | AERO_WRITE));
    expect("a new page", *word_at(LATER), 0);
    expect("the page that was shared", *word_at(PAGE), 1);
}

static void not_again(void)
{
    aero_handle process = child(maps_its_own, PAGE, AERO_PAGE_SIZE, AERO_READ);

    expect("the child's status", aero_process_wait(process), 0);
    for (uint64_t at = LATER;; at += AERO_PAGE_SIZE) { /* all there is: the child's pages must be among them */
        if (aero_mmap(at, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE))
            break;
        for (uint64_t word = at; word < at + AERO_PAGE_SIZE; word += 8)
            expect("a word of a new page", *word_at(word), 0);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "own-rights") == 0)
        own_rights();
    else if (strcmp(what, "narrower") == 0)
        narrower();
    else if (strcmp(what, "outlives") == 0)
        outlives(PAGE, AERO_PAGE_SIZE);
    else if (strcmp(what, "block") == 0)
        outlives(BLOCK, AERO_BLOCK_SIZE);
    else if (strcmp(what, "after-child") == 0)
        after_child();
    else if (strcmp(what, "not-again") == 0)
        not_again();
    else
        return 2;
    return verdict("sharing");
}
