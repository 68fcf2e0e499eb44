/* More threads than a machine has vCPUs, each with registers of its own:  many [THREADS] [ROUNDS]
 *
 * Every thread fills its general registers, its FS and GS base, and its vector registers with numbers that only it has,
 * yields, and compares, ROUNDS times; in some rounds it computes for longer than others, so that it is preempted too. */
#include "check.h"

#include <cpuid.h>

#define MOST 600
#define STACKS 0x100000000UL
#define DONE 0x5151

static bool can_set_bases; /* CR4.FSGSBASE, as AT_HWCAP2 tells Linux programs */

static inline void set_bases(uint64_t fs, uint64_t gs)
{
    __asm__ volatile("wrfsbase %0; wrgsbase %1" : : "r"(fs), "r"(gs));
}

static inline bool bases_are(uint64_t fs, uint64_t gs)
{
    uint64_t found_fs, found_gs;

    __asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(found_fs), "=r"(found_gs));
    return found_fs == fs && found_gs == gs;
}

/* The stack pointer must survive too: no call is made meanwhile.  Returns how many registers differ. */
static uint64_t round_of(uint64_t seed, uint64_t spins)
{
    uint64_t differ;

    __asm__ volatile(
        "mov %[seed], %%rbx\n"
        "lea 1(%%rbx), %%rdx; lea 2(%%rbx), %%rsi; lea 3(%%rbx), %%rdi\n"
        "lea 4(%%rbx), %%r8; lea 5(%%rbx), %%r9; lea 6(%%rbx), %%r10\n"
        "lea 7(%%rbx), %%r12; lea 8(%%rbx), %%r13; lea 9(%%rbx), %%r14; lea 10(%%rbx), %%r15\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "lea 100+\\n(%%rbx), %%rax; movq %%rax, %%xmm\\n; pshufd $0x4e, %%xmm\\n, %%xmm\\n; movq %%rax, %%xmm\\n\n"
        ".endr\n"
        "mov %[spins], %%rcx\n"
        "1: dec %%rcx; jnz 1b\n"
        "mov %[call], %%eax\n"
        "syscall\n"
        "mov %%rax, %%rcx\n" /* 0, the result of thread_yield */
        ".macro same register, offset\n"
        "lea \\offset(%%rbx), %%rax; cmp %%rax, \\register; setne %%al; movzx %%al, %%eax; add %%rax, %%rcx\n"
        ".endm\n"
        "same %%rdx, 1; same %%rsi, 2; same %%rdi, 3; same %%r8, 4; same %%r9, 5; same %%r10, 6\n"
        "same %%r12, 7; same %%r13, 8; same %%r14, 9; same %%r15, 10\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "movq %%xmm\\n, %%rdx\n"
        "same %%rdx, 100+\\n\n"
        ".endr\n"
        ".purgem same\n"
        "cmp %[seed], %%rbx; setne %%al; movzx %%al, %%eax; add %%rax, %%rcx\n"
        : "=&c"(differ)
        : [seed] "m"(seed), [spins] "m"(spins), [call] "i"(AERO_CALL_thread_yield)
        : "rax", "rbx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory",
          "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
          "xmm13", "xmm14", "xmm15");
    return differ;
}

static uint64_t rounds;

static void thread(uint64_t number)
{
    uint64_t differ = 0;

    if (can_set_bases)
        set_bases(number << 20, number << 24);
    for (uint64_t round = 0; round < rounds; round++) {
        /* Now and then about as long as a time slice. */
        differ += round_of(number << 32 | round << 8, (number + round) % 97 ? 1 : 20000000);
        if (can_set_bases && !bases_are(number << 20, number << 24))
            differ += 1000;
    }
    aero_thread_exit(differ ? differ : DONE);
}

int main(int argc, char **argv)
{
    static aero_handle handles[MOST];
    uint64_t count = number_or(argc > 1 ? argv[1] : NULL, 300);
    uint32_t a, b = 0, c, d;

    rounds = number_or(argc > 2 ? argv[2] : NULL, 3);
    if (count > MOST)
        return 2;
    __get_cpuid_count(7, 0, &a, &b, &c, &d);
    can_set_bases = b & bit_FSGSBASE;
    for (uint64_t i = 0; i < count; i++) {
        must("mmap", aero_mmap(STACKS + i * 2 * AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
        handles[i] = (aero_handle)must(
            "thread_create",
            aero_thread_create((void *)thread, (void *)(STACKS + (2 * i + 1) * AERO_PAGE_SIZE - 8), i + 1));
    }
    for (uint64_t i = 0; i < count; i++)
        expect("a thread's status", aero_thread_join(handles[i]), DONE);
    return verdict("many");
}
