/* Makes whatever system calls the host asks for, and nothing else.
 *
 * Its first call each time is 0x2000: the host answers (how often << 16) | which number, or 0 to end, with three
 * arguments in rdi, rsi and rdx.  The loop that follows is the same instructions for every number: native calls, Linux
 * calls and the floor are measured on it. */
#include <aero.h>

int main(void)
{
    for (;;) {
        uint64_t order = AERO_USER_FIRST, a = 0, b = 0, c = 0;

        __asm__ volatile("syscall" : "+a"(order), "+D"(a), "+S"(b), "+d"(c) : : "rcx", "r11", "memory");
        if (order == 0)
            return 0;
        for (uint64_t left = order >> 16; left > 0; left--)
            aero_syscall(order & 0xffff, a, b, c, 0, 0, 0);
    }
}
