/* The machine's own pages, at AERO_SYSTEM_BASE: a program must not read, write or change them, nor run their code for
 * its own ends.
 *
 *   gate read|write PAGE       one access to that page: a page fault ends the program
 *   gate jump PAGE OFFSET      jumps there with a return address and flags as `syscall` would leave them
 *   gate jump-bad PAGE OFFSET  the same with a return address that no program may have
 *
 * A jump may end in a fault or, where it enters the gate as `syscall` does, come back with the result of a call: status
 * 0.  After jump-bad nothing may come back. */
#include "check.h"

static int64_t jump(uint64_t target, bool hostile)
{
    int64_t result;

    if (hostile)
        __asm__ volatile("mov $-1, %%r11; jmp *%2"
                         : "=a"(result)
                         : "a"(AERO_CALL_null), "r"(target), "c"(0xffffffff80000000)
                         : "r11", "rdx", "rsi", "rdi", "memory");
    else
        __asm__ volatile("pushfq; pop %%r11; orq $0x3100, %%r11; lea 1f(%%rip), %%rcx; jmp *%2; 1:"
                         : "=a"(result)
                         : "a"(AERO_CALL_null), "r"(target)
                         : "rcx", "r11", "memory");
    return result;
}

int main(int argc, char **argv)
{
    uint64_t page, offset;

    if (argc < 3) {
        aero_print("usage: gate read|write PAGE, gate jump|jump-bad PAGE OFFSET\n");
        return 2;
    }
    page = AERO_SYSTEM_BASE + number_or(argv[2], 0) * AERO_PAGE_SIZE;
    offset = argc > 3 ? number_or(argv[3], 0) : 0;
    if (strcmp(argv[1], "read") == 0) {
        aero_print_hex(*(volatile uint64_t *)(page + offset));
        aero_print(" was read\n");
    } else if (strcmp(argv[1], "write") == 0) {
        *(volatile uint64_t *)(page + offset) = 0;
        aero_print("it was written\n");
    } else if (strcmp(argv[1], "jump") == 0) {
        expect("the result of null", jump(page + offset, false), 0);
        return failures != 0;
    } else if (strcmp(argv[1], "jump-bad") == 0) {
        jump(page + offset, true);
        aero_print("it came back\n");
    }
    return 1;
}
