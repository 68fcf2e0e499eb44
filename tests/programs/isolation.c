/* What a program may do with a page is what the kernel said last:  isolation [ROUNDS] [SEED]
 *
 * Maps, protects and unmaps pages and 2 MiB blocks at random, beside a model of what should be possible.  Before and
 * after each change the page is read, written and executed, by this thread and by a second one that runs on another
 * core where there is one.  What should fault must fault, at once, and what should not must not, and the words in the
 * page must be its own.  The addresses lie so that page tables come and go as well.
 *
 * A handler for SIGSEGV skips what faults: needs the Linux calls. */
#define _GNU_SOURCE /* REG_RIP */
#include "check.h"

#include <signal.h>
#include <ucontext.h>

#define PAGES 40
#define BLOCKS 3
#define SLOTS (PAGES + BLOCKS)
#define CODE 64 /* offset of an instruction, ret */

#define MAY_READ 1
#define MAY_WRITE 2
#define MAY_EXECUTE 4

static struct slot {
    uint64_t address;
    uint64_t size;
    uint64_t stamp;   /* in the first word of each page; 0: not mapped */
    uint64_t allowed; /* MAY_... */
} slots[SLOTS];

/* A fault goes on at the address in r15, with the stack pointer in r14. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)number;
    (void)info;
    registers[REG_RIP] = registers[REG_R15];
    registers[REG_RSP] = registers[REG_R14];
}

/* Each returns whether it was possible. */
static bool try_read(uint64_t address, uint64_t *word)
{
    uint64_t done, found;

    __asm__ volatile("lea 1f(%%rip), %%r15; mov %%rsp, %%r14; xor %%eax, %%eax; xor %%edx, %%edx\n"
                     "mov (%[at]), %%rdx; inc %%eax\n"
                     "1:"
                     : "=&a"(done), "=&d"(found) : [at] "r"(address) : "r14", "r15", "memory", "cc");
    *word = found;
    return done;
}

static bool try_write(uint64_t address, uint64_t word)
{
    uint64_t done;

    __asm__ volatile("lea 1f(%%rip), %%r15; mov %%rsp, %%r14; xor %%eax, %%eax\n"
                     "mov %[word], (%[at]); inc %%eax\n"
                     "1:"
                     : "=&a"(done) : [at] "r"(address), [word] "r"(word) : "r14", "r15", "memory", "cc");
    return done;
}

static bool try_execute(uint64_t address)
{
    uint64_t done;

    __asm__ volatile("lea 1f(%%rip), %%r15; mov %%rsp, %%r14; xor %%eax, %%eax\n"
                     "call *%[at]; inc %%eax\n"
                     "1:"
                     : "=&a"(done) : [at] "r"(address) : "r14", "r15", "memory", "cc");
    return done;
}

/* All three at one page; the word that was read. */
static uint64_t probe(uint64_t page, uint64_t *word)
{
    uint64_t could = 0;

    if (try_read(page, word))
        could |= MAY_READ;
    if (try_write(page + 8, 1))
        could |= MAY_WRITE;
    if (try_execute(page + CODE))
        could |= MAY_EXECUTE;
    return could;
}

/* The second thread: probes pages when asked.  It has no thread-local storage and calls nothing that needs it. */
#define ASKED 3

static struct {
    volatile uint64_t asked, answered; /* counts */
    volatile uint64_t page[ASKED], could[ASKED], word[ASKED];
} other;

static void until(volatile uint64_t *count, uint64_t value)
{
    for (unsigned tries = 1; *count != value; tries++)
        if (tries % 4096 == 0)
            aero_thread_yield();
        else
            __builtin_ia32_pause();
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static int prober(void *argument)
{
    (void)argument;
    for (uint64_t turn = 1;; turn++) {
        until(&other.asked, turn);
        if (other.page[0] == 0)
            return 0;
        for (int i = 0; i < ASKED; i++) {
            uint64_t word;

            other.could[i] = probe(other.page[i], &word);
            other.word[i] = word;
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        other.answered = turn;
    }
}

static void check(const struct slot *slot, const char *could_text, uint64_t could, const char *word_text, uint64_t word)
{
    expect(could_text, (int64_t)could, (int64_t)slot->allowed);
    if (slot->allowed)
        expect(word_text, (int64_t)word, (int64_t)slot->stamp);
}

static void compare(struct slot *const asked[ASKED], const uint64_t page[ASKED])
{
    for (int i = 0; i < ASKED; i++)
        other.page[i] = page[i];
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    other.asked++;
    until(&other.answered, other.asked);
    for (int i = 0; i < ASKED; i++) {
        uint64_t word, could = probe(page[i], &word);

        check(asked[i], "what the other thread can do", other.could[i], "what the other thread reads", other.word[i]);
        check(asked[i], "what this thread can do", could, "what this thread reads", word);
    }
}

static void map(struct slot *slot, uint64_t stamp)
{
    must("mmap", aero_mmap(slot->address, slot->size, AERO_READ | AERO_WRITE));
    slot->stamp = stamp;
    slot->allowed = MAY_READ | MAY_WRITE;
    for (uint64_t page = slot->address; page < slot->address + slot->size; page += AERO_PAGE_SIZE) {
        for (uint64_t at = page; at < page + 128; at += 8)
            expect("a word of a new page", *(volatile int64_t *)at, 0);
        *(volatile uint64_t *)page = stamp;
        *(volatile uint8_t *)(page + CODE) = 0xc3;
    }
}

static void unmap(struct slot *slot)
{
    must("munmap", aero_munmap(slot->address, slot->size));
    slot->stamp = slot->allowed = 0;
}

static void protect(struct slot *slot, uint64_t random)
{
    static const struct {
        uint64_t protection, allowed;
    } choices[] = {
        {AERO_NONE, 0},
        {AERO_READ, MAY_READ},
        {AERO_READ | AERO_WRITE, MAY_READ | MAY_WRITE},
        {AERO_READ | AERO_EXECUTE, MAY_READ | MAY_EXECUTE},
        {AERO_READ | AERO_WRITE | AERO_EXECUTE, MAY_READ | MAY_WRITE | MAY_EXECUTE},
    };
    size_t choice = random % (sizeof choices / sizeof choices[0]);

    must("mprotect", aero_mprotect(slot->address, slot->size, choices[choice].protection));
    slot->allowed = choices[choice].allowed;
}

int main(int argc, char **argv)
{
    uint64_t rounds = number_or(argc > 1 ? argv[1] : NULL, 300);
    uint64_t random = number_or(argc > 2 ? argv[2] : NULL, 1) * 0x2545f4914f6cdd1dUL | 1;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    struct aero_thread thread;
    struct slot *next = &slots[0];
    uint64_t next_page;

    if (sigaction(SIGSEGV, &action, NULL))
        return 2;
    /* Neighbours in one table, alone in a 2 MiB stretch, alone in a 1 GiB stretch, alone in a 512 GiB stretch. */
    for (uint64_t i = 0; i < PAGES; i++) {
        static const uint64_t strides[] = {AERO_PAGE_SIZE, AERO_BLOCK_SIZE, 1UL << 30, 1UL << 39};

        slots[i].address = 0x100000000000UL + (i % 4 << 42) + (1 + i / 4) * strides[i % 4];
        slots[i].size = AERO_PAGE_SIZE;
    }
    for (uint64_t i = 0; i < BLOCKS; i++) {
        slots[PAGES + i].address = 0x300000000000UL + i * AERO_BLOCK_SIZE;
        slots[PAGES + i].size = AERO_BLOCK_SIZE;
    }
    next_page = next->address;
    must("aero_thread_spawn", aero_thread_spawn(&thread, prober, NULL));
    for (uint64_t round = 1; round <= rounds; round++) {
        struct slot *asked[ASKED];
        uint64_t page[ASKED];

        if (next->stamp == 0)
            map(next, round);
        else if (xorshift(&random) % 3)
            protect(next, xorshift(&random));
        else
            unmap(next);
        /* What was changed, what must not have changed by it, and what will change next: that both threads used it
         * before is what makes a stale translation. */
        asked[0] = next;
        page[0] = next_page;
        for (int i = 1; i < ASKED; i++) {
            asked[i] = &slots[xorshift(&random) % (round % 4 ? PAGES : SLOTS)];
            page[i] = asked[i]->address + xorshift(&random) % (asked[i]->size / AERO_PAGE_SIZE) * AERO_PAGE_SIZE;
        }
        compare(asked, page);
        next = asked[ASKED - 1];
        next_page = page[ASKED - 1];
    }
    other.page[0] = 0;
    other.asked++;
    expect("the other thread's status", aero_thread_wait(&thread), 0);
    return verdict("isolation");
}
