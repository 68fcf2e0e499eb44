/* What must kill a program: faults NAME does it, `faults list` prints every name with the exception vector it ends by.
 *
 * Vector 14 is a page fault, 13 general protection, 6 invalid opcode, 3 breakpoint, 1 debug, 0 divide error.  Where
 * processors differ a second vector follows.  A name followed by "lives" must not kill: it exits 0 by itself. */
#include "check.h"

#define AREA 0x500000000UL
#define GATE_PORT 0x20
#define LIVES (-1)

static volatile uint64_t sink;

/* What the compiler would refuse if it knew the address. */
static uint64_t hidden(uint64_t address)
{
    __asm__("" : "+r"(address));
    return address;
}

static uint64_t load(uint64_t address)
{
    address = hidden(address);
    return sink = *(volatile uint64_t *)address;
}

static void store(uint64_t address)
{
    address = hidden(address);
    *(volatile uint64_t *)address = 1;
}

/* A call and not a jump, so that a report shows where it came from. */
static void run_at(uint64_t address)
{
    ((void (*)(void))hidden(address))();
}

static void map(uint64_t protection)
{
    must("mmap", aero_mmap(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    *(volatile uint8_t *)AREA = 0xc3; /* ret */
    must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, protection));
}

/* --- Memory --- */

static void null_read(void) { load(0); }
static void null_write(void) { store(8); }
static void null_jump(void) { run_at(0); }
static void unmapped_read(void) { load(0x123456789000); }
static void unmapped_write(void) { store(0x123456789000); }
static void unmapped_jump(void) { run_at(0x123456789000); }
static void noncanonical_read(void) { load(0x800000000000); }
static void noncanonical_jump(void) { run_at(0x800000000000); }
static void upper_half_read(void) { load(0xffff800000000000); }
static void upper_half_write(void) { store(0xffffffff80000000); }
static void last_byte_read(void) { load(0xfffffffffffffff8); }
/* Not the first of the system pages, the gate: where a program has to be able to execute it, it can read it too. */
static void system_page_read(void) { load(AERO_SYSTEM_BASE + AERO_PAGE_SIZE); }
static void system_page_write(void) { store(AERO_SYSTEM_BASE); }

static void read_after_munmap(void)
{
    map(AERO_READ | AERO_WRITE);
    load(AREA);
    must("munmap", aero_munmap(AREA, AERO_PAGE_SIZE));
    load(AREA);
}

static void write_after_munmap(void)
{
    map(AERO_READ | AERO_WRITE);
    store(AREA);
    must("munmap", aero_munmap(AREA, AERO_PAGE_SIZE));
    store(AREA);
}

static void execute_after_munmap(void)
{
    map(AERO_READ | AERO_EXECUTE);
    run_at(AREA);
    must("munmap", aero_munmap(AREA, AERO_PAGE_SIZE));
    run_at(AREA);
}

static void write_after_protect_read(void)
{
    map(AERO_READ | AERO_WRITE);
    store(AREA);
    must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_READ));
    load(AREA);
    store(AREA);
}

static void read_after_protect_none(void)
{
    map(AERO_READ | AERO_WRITE);
    load(AREA);
    must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_NONE));
    load(AREA);
}

static void execute_after_protect(void)
{
    map(AERO_READ | AERO_EXECUTE);
    run_at(AREA);
    must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_READ));
    run_at(AREA);
}

static void write_back_after_protect(void)
{
    map(AERO_READ);
    must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    store(AREA);
    must("munmap", aero_munmap(AREA, AERO_PAGE_SIZE));
    must("mmap", aero_mmap(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE | AERO_EXECUTE));
    *(volatile uint8_t *)AREA = 0xc3;
    run_at(AREA);
}

static void read_block_after_munmap(void)
{
    const uint64_t block = 0x40000000;

    must("mmap", aero_mmap(block, AERO_BLOCK_SIZE, AERO_READ | AERO_WRITE));
    store(block);
    store(block + AERO_BLOCK_SIZE - 8);
    must("munmap", aero_munmap(block, AERO_BLOCK_SIZE));
    load(block + AERO_BLOCK_SIZE - 8);
}

static void execute_data(void)
{
    map(AERO_READ | AERO_WRITE);
    run_at(AREA);
}

static void execute_stack(void)
{
    volatile uint8_t code[16] = {0xc3};

    run_at((uint64_t)code);
}

static void write_text(void) { store((uint64_t)write_text); }

static void write_constant(void)
{
    static const uint64_t constant = 5;

    store((uint64_t)&constant);
}

static uint64_t descend(uint64_t depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    if (depth == sink)
        return 0; /* never: sink is 0 and depth begins at 1 */
    return descend(depth + 1) + (uint64_t)frame[0]; /* not a tail call: each level keeps its frame */
}

static void stack_exhaustion(void) { sink = descend(1); }

/* --- Instructions of the kernel, and of exceptions --- */

#define INSTRUCTION(name, ...)                          \
    static void name(void)                              \
    {                                                   \
        __asm__ volatile(__VA_ARGS__);                  \
    }

INSTRUCTION(halt, "hlt")
INSTRUCTION(clear_interrupts, "cli")
INSTRUCTION(set_interrupts, "sti")
INSTRUCTION(in_port, "in $0x60, %%al" : : : "rax")
INSTRUCTION(in_gate_port, "in %0, %%al" : : "i"(GATE_PORT) : "rax")
INSTRUCTION(in_word_port, "mov $0x1f, %%dx; in %%dx, %%ax" : : : "rax", "rdx") /* its second byte is the gate port */
INSTRUCTION(out_port, "out %%al, $0x80" : : "a"(0))
INSTRUCTION(out_reset, "mov $0xcf9, %%edx; mov $6, %%al; out %%al, %%dx" : : : "rax", "rdx")
INSTRUCTION(out_exception_port, "out %%al, $0x4e" : : "a"(0)) /* a port the exception stubs may use */
INSTRUCTION(out_gate, "out %%al, %0" : : "i"(GATE_PORT), "a"(AERO_CALL_null))
INSTRUCTION(out_gate_noncanonical_rcx, "out %%al, %0"
            : : "i"(GATE_PORT), "a"(AERO_CALL_null), "c"(0x800000000000) : "r11")
INSTRUCTION(out_gate_upper_half_rcx, "mov $-1, %%r11; out %%al, %0"
            : : "i"(GATE_PORT), "a"(AERO_CALL_null), "c"(0xffffffff80000000) : "r11")
INSTRUCTION(out_gate_system_rcx, "mov $-1, %%r11; out %%al, %0"
            : : "i"(GATE_PORT), "a"(AERO_CALL_null), "c"(AERO_SYSTEM_BASE) : "r11")
INSTRUCTION(out_gate_word, "mov %0, %%dx; out %%ax, %%dx" : : "i"(GATE_PORT), "a"(AERO_CALL_null) : "rdx")
INSTRUCTION(out_gate_string, "cld; mov %0, %%dx; outsb" : : "i"(GATE_PORT), "S"(&sink) : "rdx")
INSTRUCTION(in_gate_string, "cld; mov %0, %%dx; insb" : : "i"(GATE_PORT), "D"(&sink) : "rdx", "memory")
INSTRUCTION(read_cr0, "mov %%cr0, %%rax" : : : "rax")
INSTRUCTION(read_cr2, "mov %%cr2, %%rax" : : : "rax")
INSTRUCTION(read_cr3, "mov %%cr3, %%rax" : : : "rax")
INSTRUCTION(write_cr3, "mov %%rax, %%cr3" : : "a"(0))
INSTRUCTION(write_cr4, "mov %%rax, %%cr4" : : "a"(0))
INSTRUCTION(write_cr8, "mov %%rax, %%cr8" : : "a"(0))
INSTRUCTION(write_dr7, "mov %%rax, %%dr7" : : "a"(0x400))
INSTRUCTION(clear_task_switched, "clts")
INSTRUCTION(load_machine_status, "lmsw %%ax" : : "a"(0))
INSTRUCTION(read_msr, "rdmsr" : : "c"(0xc0000082) : "rax", "rdx")
INSTRUCTION(write_msr, "wrmsr" : : "c"(0xc0000082), "a"(0), "d"(0))
INSTRUCTION(write_xcr, "xsetbv" : : "c"(0), "a"(3), "d"(0))
INSTRUCTION(load_gdt, "lgdt %0" : : "m"(sink))
INSTRUCTION(load_idt, "lidt %0" : : "m"(sink))
INSTRUCTION(load_task, "ltr %%ax" : : "a"(0x40))
INSTRUCTION(load_ldt, "lldt %%ax" : : "a"(0))
INSTRUCTION(invalidate_page, "invlpg (%0)" : : "r"(AREA))
INSTRUCTION(invalidate_caches, "wbinvd")
INSTRUCTION(swap_gs, "swapgs")
INSTRUCTION(system_return, "mov $1f, %%rcx; sysretq; 1:" : : : "rcx", "r11")
INSTRUCTION(system_enter, "sysenter")
INSTRUCTION(load_kernel_data_segment, "mov %%ax, %%ss" : : "a"(0x18))
INSTRUCTION(far_return_to_ring_0, "pushq $0x10; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:" : : : "rax")
INSTRUCTION(interrupt_return_to_ring_0,
            "mov %%rsp, %%rdx; pushq $0x18; push %%rdx; pushfq; pushq $0x10; lea 1f(%%rip), %%rax; push %%rax;"
            "iretq; 1:" : : : "rax", "rdx")
INSTRUCTION(interrupt_0x80, "int $0x80" : : "a"(1))
INSTRUCTION(interrupt_page_fault, "int $14")
INSTRUCTION(interrupt_double_fault, "int $8")
INSTRUCTION(interrupt_nmi, "int $2")
INSTRUCTION(interrupt_timer, "int $0x20")
INSTRUCTION(interrupt_last, "int $0xff")
INSTRUCTION(breakpoint, "int3")
INSTRUCTION(undefined, "ud2")
INSTRUCTION(single_step, "pushfq; orq $0x100, (%%rsp); popfq; nop; nop" : : : "cc", "memory")
INSTRUCTION(bad_lock, ".byte 0xf0, 0x90") /* lock nop */
INSTRUCTION(too_long, ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90")
INSTRUCTION(noncanonical_stack, "mov $0x800000001000, %%rax; mov %%rax, %%rsp; push %%rax" : : : "rax")

static void divide_by_zero(void)
{
    __asm__ volatile("xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx" : : : "rax", "rcx", "rdx");
}

static void divide_overflow(void)
{
    __asm__ volatile("mov $1, %%rdx; xor %%eax, %%eax; mov $1, %%ecx; div %%rcx" : : : "rax", "rcx", "rdx");
}

static void x87_exception(void)
{
    /* A zero divide with that exception unmasked; fwait takes it. */
    uint16_t control = 0x037b;

    __asm__ volatile("fninit; fldcw %0; fldz; fld1; fdiv %%st(1), %%st; fwait" : : "m"(control));
}

static void sse_exception(void)
{
    uint32_t control = 0x1d80; /* the zero divide unmasked */

    __asm__ volatile("ldmxcsr %0; mov $1, %%eax; cvtsi2ss %%eax, %%xmm0; xorps %%xmm1, %%xmm1; divss %%xmm1, %%xmm0"
                     : : "m"(control) : "rax", "xmm0", "xmm1");
}

static void alignment_check(void)
{
    uint64_t words[2] = {0, 0};

    __asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq; mov 1(%0), %%rax" : : "r"(words) : "rax", "cc", "memory");
}

static void after_flags_out(void)
{
    /* popf cannot raise IOPL in ring 3; a kernel that restores flags unmasked would do it for us. */
    __asm__ volatile("pushfq; orq $0x3000, (%%rsp); popfq; mov %0, %%eax; syscall; out %%al, $0x80"
                     : : "i"(AERO_CALL_null) : "rax", "rcx", "r11", "memory");
}

/* --- What must not kill --- */

static void bad_stack_at_call(void)
{
    /* The kernel must not use the program's stack. */
    int64_t result;

    __asm__ volatile("mov %%rsp, %%rbx; mov $0x800000000000, %%rsp; syscall; mov %%rbx, %%rsp"
                     : "=a"(result) : "a"(AERO_CALL_null) : "rbx", "rcx", "r11", "memory");
    expect("null with a bad stack pointer", result, 0);
    __asm__ volatile("mov %%rsp, %%rbx; xor %%esp, %%esp; syscall; mov %%rbx, %%rsp"
                     : "=a"(result) : "a"(AERO_CALL_null) : "rbx", "rcx", "r11", "memory");
    expect("null with a null stack pointer", result, 0);
}

static void cpuid_and_time(void)
{
    uint32_t low, high, a = 0, b, c = 0, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    expect_true("cpuid has leaves", a >= 1);
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    expect_true("the time stamp counter is not zero", (low | high) != 0);
}

static const struct fault {
    const char *name;
    void (*act)(void);
    int vector;
    int elsewhere; /* the vector on other processors; 0 for the same */
} faults[] = {
    {"null-read", null_read, 14, 0},
    {"null-write", null_write, 14, 0},
    {"null-jump", null_jump, 14, 0},
    {"unmapped-read", unmapped_read, 14, 0},
    {"unmapped-write", unmapped_write, 14, 0},
    {"unmapped-jump", unmapped_jump, 14, 0},
    {"noncanonical-read", noncanonical_read, 13, 0},
    {"noncanonical-jump", noncanonical_jump, 13, 0},
    {"noncanonical-stack", noncanonical_stack, 12, 0},
    {"upper-half-read", upper_half_read, 14, 0},
    {"upper-half-write", upper_half_write, 14, 0},
    {"last-byte-read", last_byte_read, 14, 0},
    {"system-page-read", system_page_read, 14, 0},
    {"system-page-write", system_page_write, 14, 0},
    {"read-after-munmap", read_after_munmap, 14, 0},
    {"write-after-munmap", write_after_munmap, 14, 0},
    {"execute-after-munmap", execute_after_munmap, 14, 0},
    {"write-after-protect-read", write_after_protect_read, 14, 0},
    {"read-after-protect-none", read_after_protect_none, 14, 0},
    {"execute-after-protect", execute_after_protect, 14, 0},
    {"write-back-after-protect", write_back_after_protect, LIVES, 0},
    {"read-block-after-munmap", read_block_after_munmap, 14, 0},
    {"execute-data", execute_data, 14, 0},
    {"execute-stack", execute_stack, 14, 0},
    {"write-text", write_text, 14, 0},
    {"write-constant", write_constant, 14, 0},
    {"stack-exhaustion", stack_exhaustion, 14, 0},
    {"hlt", halt, 13, 0},
    {"cli", clear_interrupts, 13, 0},
    {"sti", set_interrupts, 13, 0},
    {"in-port", in_port, 13, 0},
    {"in-gate-port", in_gate_port, 13, 0},
    {"in-word-port", in_word_port, 13, 0},
    {"out-port", out_port, 13, 0},
    {"out-reset", out_reset, 13, 0},
    {"out-exception-port", out_exception_port, 13, 0},
    {"out-gate", out_gate, 13, 0},
    {"out-gate-noncanonical-rcx", out_gate_noncanonical_rcx, 13, 0},
    {"out-gate-upper-half-rcx", out_gate_upper_half_rcx, 13, 0},
    {"out-gate-system-rcx", out_gate_system_rcx, 13, 0},
    {"out-gate-word", out_gate_word, 13, 0},
    {"out-gate-string", out_gate_string, 13, 0},
    {"in-gate-string", in_gate_string, 13, 0},
    {"read-cr0", read_cr0, 13, 0},
    {"read-cr2", read_cr2, 13, 0},
    {"read-cr3", read_cr3, 13, 0},
    {"write-cr3", write_cr3, 13, 0},
    {"write-cr4", write_cr4, 13, 0},
    {"write-cr8", write_cr8, 13, 0},
    {"write-dr7", write_dr7, 13, 0},
    {"clts", clear_task_switched, 13, 0},
    {"lmsw", load_machine_status, 13, 0},
    {"rdmsr", read_msr, 13, 0},
    {"wrmsr", write_msr, 13, 0},
    {"xsetbv", write_xcr, 13, 6},
    {"lgdt", load_gdt, 13, 0},
    {"lidt", load_idt, 13, 0},
    {"ltr", load_task, 13, 0},
    {"lldt", load_ldt, 13, 0},
    {"invlpg", invalidate_page, 13, 0},
    {"wbinvd", invalidate_caches, 13, 0},
    {"swapgs", swap_gs, 13, 6},
    {"sysret", system_return, 13, 6},
    {"sysenter", system_enter, 13, 6},
    {"load-kernel-ss", load_kernel_data_segment, 13, 0},
    {"far-return-to-ring-0", far_return_to_ring_0, 13, 0},
    {"iret-to-ring-0", interrupt_return_to_ring_0, 13, 0},
    {"int-0x80", interrupt_0x80, 13, 6},
    {"int-14", interrupt_page_fault, 13, 6},
    {"int-8", interrupt_double_fault, 13, 6},
    {"int-2", interrupt_nmi, 13, 6},
    {"int-0x20", interrupt_timer, 13, 6},
    {"int-0xff", interrupt_last, 13, 6},
    {"int3", breakpoint, 3, 0},
    {"ud2", undefined, 6, 0},
    {"lock-nop", bad_lock, 6, 0},
    {"too-long", too_long, 13, 6},
    {"single-step", single_step, 1, 0},
    {"divide-by-zero", divide_by_zero, 0, 0},
    {"divide-overflow", divide_overflow, 0, 0},
    {"x87-exception", x87_exception, 16, 0},
    {"sse-exception", sse_exception, 19, 0},
    {"alignment-check", alignment_check, 17, 0},
    {"iopl-then-out", after_flags_out, 13, 0},
    {"bad-stack-at-call", bad_stack_at_call, LIVES, 0},
    {"cpuid-and-time", cpuid_and_time, LIVES, 0},
};

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "list";

    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (strcmp(name, "list") == 0) {
            aero_print(faults[i].name);
            aero_print(" ");
            if (faults[i].vector == LIVES)
                aero_print("lives");
            else
                aero_print_number(faults[i].vector);
            if (faults[i].elsewhere) {
                aero_print(" ");
                aero_print_number(faults[i].elsewhere);
            }
            aero_print("\n");
        } else if (strcmp(name, faults[i].name) == 0) {
            faults[i].act();
            if (faults[i].vector == LIVES)
                return failures != 0;
            aero_print("still alive after ");
            aero_print(name);
            aero_print("\n");
            return 1;
        }
    }
    if (strcmp(name, "list") == 0)
        return 0;
    aero_print("no such fault; `faults list` prints them\n");
    return 2;
}
