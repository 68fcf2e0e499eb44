/* Registers: zero at the start of a program and of a thread, kept across system calls, and each thread's own.
 *
 *   registers start     what _start and a new thread find
 *   registers calls     all kept across calls, as the ABI says (rax, rcx, r11 excepted)
 *   registers threads N general and vector registers of N threads through preemption and yields */
#include "check.h"

#include <immintrin.h>

#define MOST 16
#define GENERAL 14 /* all but rsp, and rdi, which has the argument */

/* A thread's first instruction stores what it finds; rsp points at GENERAL + 8 free words. */
static volatile uint64_t found_general[GENERAL] __attribute__((used));
static volatile uint8_t found_vectors[256] __attribute__((used, aligned(16)));
static volatile uint64_t found_flags __attribute__((used));
static volatile uint32_t found_mxcsr __attribute__((used));
static volatile uint16_t found_x87[14] __attribute__((used));

void fresh_thread(void);

__asm__(".text\n"
        ".globl fresh_thread\n"
        "fresh_thread:\n"
        "    mov %rax, found_general+0x00(%rip)\n"
        "    mov %rbx, found_general+0x08(%rip)\n"
        "    mov %rcx, found_general+0x10(%rip)\n"
        "    mov %rdx, found_general+0x18(%rip)\n"
        "    mov %rsi, found_general+0x20(%rip)\n"
        "    mov %rbp, found_general+0x28(%rip)\n"
        "    mov %r8, found_general+0x30(%rip)\n"
        "    mov %r9, found_general+0x38(%rip)\n"
        "    mov %r10, found_general+0x40(%rip)\n"
        "    mov %r11, found_general+0x48(%rip)\n"
        "    mov %r12, found_general+0x50(%rip)\n"
        "    mov %r13, found_general+0x58(%rip)\n"
        "    mov %r14, found_general+0x60(%rip)\n"
        "    mov %r15, found_general+0x68(%rip)\n"
        "    pushfq\n"
        "    pop found_flags(%rip)\n"
        "    stmxcsr found_mxcsr(%rip)\n"
        "    fnstenv found_x87(%rip)\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "    movaps %xmm\\n, found_vectors+16*\\n(%rip)\n"
        ".endr\n"
        "    xor %ebp, %ebp\n"
        "    mov $0x1007, %eax\n" /* thread_exit(argument) */
        "    syscall\n"
        "    ud2\n");
_Static_assert(AERO_CALL_thread_exit == 0x1007, "the number above");

/* Fills all vector registers, so that a later thread would find them if they leaked. */
static void dirty_vectors(void)
{
    __asm__ volatile(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
                     "pcmpeqd %%xmm\\n, %%xmm\\n\n"
                     ".endr\n"
                     "fninit; fld1; fldpi\n"
                     : : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static void start(void)
{
    const uint64_t stack = 0x500000000UL;

    must("mmap", aero_mmap(stack, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    for (int round = 0; round < 3; round++) {
        int64_t thread;

        dirty_vectors();
        thread = must("thread_create",
                      aero_thread_create((void *)fresh_thread, (void *)(stack + AERO_PAGE_SIZE), 77));
        expect("the argument in rdi", aero_thread_join((aero_handle)thread), 77);
        for (int i = 0; i < GENERAL; i++)
            expect("a general register of a new thread", (int64_t)found_general[i], 0);
        for (size_t i = 0; i < sizeof found_vectors; i++)
            expect("a byte of a vector register of a new thread", found_vectors[i], 0);
        expect("rflags of a new thread", (int64_t)(found_flags & ~0x202UL), 0);
        expect("mxcsr of a new thread", found_mxcsr, 0x1f80);
        expect("x87 control word of a new thread", found_x87[0], 0x37f);
        expect("x87 tags of a new thread", found_x87[4], 0xffff);
    }
}

/* Sets registers to values made from `seed`, lets `calls` null calls or a spin go by, and returns how many differ. */
static uint64_t survive(uint64_t seed, uint64_t spins, uint64_t number)
{
    uint64_t differ;

    __asm__ volatile(
        "    mov %[seed], %%rbx\n"
        "    lea 1(%%rbx), %%rdx\n"
        "    lea 2(%%rbx), %%rsi\n"
        "    lea 3(%%rbx), %%rdi\n"
        "    lea 4(%%rbx), %%r8\n"
        "    lea 5(%%rbx), %%r9\n"
        "    lea 6(%%rbx), %%r10\n"
        "    lea 7(%%rbx), %%r12\n"
        "    lea 8(%%rbx), %%r13\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "    lea 100+\\n(%%rbx), %%rax\n"
        "    movq %%rax, %%xmm\\n\n"
        "    punpcklqdq %%xmm\\n, %%xmm\\n\n"
        ".endr\n"
        "    mov %[spins], %%rcx\n"
        "1:  pause\n"
        "    dec %%rcx\n"
        "    jnz 1b\n"
        "    mov %[number], %%rax\n"
        "    syscall\n"
        "    mov %%rax, %%r11\n" /* rax: 0 as the result of null and yield */
        "    xor %%ecx, %%ecx\n"
        ".macro same register, offset\n"
        "    lea \\offset(%%rbx), %%rax\n"
        "    cmp %%rax, \\register\n"
        "    setne %%al\n"
        "    movzx %%al, %%eax\n"
        "    add %%rax, %%rcx\n"
        ".endm\n"
        "    same %%rdx, 1\n"
        "    same %%rsi, 2\n"
        "    same %%rdi, 3\n"
        "    same %%r8, 4\n"
        "    same %%r9, 5\n"
        "    same %%r10, 6\n"
        "    same %%r12, 7\n"
        "    same %%r13, 8\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "    movq %%xmm\\n, %%rdx\n"
        "    same %%rdx, 100+\\n\n"
        "    psrldq $8, %%xmm\\n\n"
        "    movq %%xmm\\n, %%rdx\n"
        "    same %%rdx, 100+\\n\n"
        ".endr\n"
        ".purgem same\n"
        "    cmp %[seed], %%rbx\n"
        "    setne %%al\n"
        "    movzx %%al, %%eax\n"
        "    add %%rax, %%rcx\n"
        "    add %%r11, %%rcx\n"
        : "=&c"(differ)
        : [seed] "m"(seed), [spins] "m"(spins), [number] "m"(number)
        : "rax", "rbx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "cc", "memory", "xmm0", "xmm1",
          "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
          "xmm15");
    return differ;
}

static void calls(void)
{
    for (uint64_t round = 1; round <= 100; round++) {
        expect("registers changed by null", (int64_t)survive(round << 40, 1, AERO_CALL_null), 0);
        expect("registers changed by thread_yield", (int64_t)survive(round << 40, 1, AERO_CALL_thread_yield), 0);
    }
}

static int spinner(void *argument)
{
    uint64_t differ = 0;

    for (uint64_t round = 1; round <= 40; round++) {
        /* Long enough that a time slice ends in it now and then. */
        differ += survive((uint64_t)argument << 32, 50000, round % 2 ? AERO_CALL_null : AERO_CALL_thread_yield);
        differ += _mm_getcsr() != 0x1f80;
    }
    return (int)differ;
}

static void threads(uint64_t count)
{
    static struct aero_thread threads_[MOST];

    if (count < 1 || count > MOST)
        count = 4;
    for (uint64_t i = 0; i < count; i++)
        must("aero_thread_spawn", aero_thread_spawn(&threads_[i], spinner, (void *)(i + 1)));
    for (uint64_t i = 0; i < count; i++)
        expect("registers changed in a thread", aero_thread_wait(&threads_[i]), 0);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "all";
    bool all = strcmp(what, "all") == 0;

    if (all || strcmp(what, "start") == 0)
        start();
    if (all || strcmp(what, "calls") == 0)
        calls();
    if (all || strcmp(what, "threads") == 0)
        threads(argc > 2 ? number_or(argv[2], 4) : 4);
    return verdict("registers");
}
