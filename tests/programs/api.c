/* What the host reads, writes, calls and serves:  api WHAT
 *
 *   wait       waits until the host changes `go`, then ends with `answer`
 *   sleep      blocks in call 0x2001 until the host wakes it, then ends with what it got
 *   ask ...    makes call 0x2000 with six numbers and ends with the result (0 to 255), or prints an error
 *   ask-bad    makes call 0x2000 with pointers that are none, and expects EFAULT
 *   grow       makes calls for ever, counting in `count`
 * Anything else: ends with 0.  The functions below are called by the host. */
#include "check.h"

volatile uint64_t go, answer = 41, count;
char text[64] = "written by the program";
const char constant[32] = "not to be changed";

/* Called by the host, through its symbol. */
#define CALLED __attribute__((used, noinline)) static uint64_t

CALLED add(uint64_t a, uint64_t b)
{
    return a + b;
}

CALLED six(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    return a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f;
}

/* Needs an aligned stack, as the ABI promises. */
CALLED aligned(void)
{
    __attribute__((aligned(16))) volatile char place[16];

    __asm__ volatile("movaps %%xmm0, %0" : "=m"(place));
    return (uint64_t)place % 16 == 0 && (uint64_t)__builtin_frame_address(0) % 16 == 0;
}

CALLED fault(uint64_t address)
{
    return *(volatile uint64_t *)address;
}

CALLED forever(void)
{
    for (;;)
        count++;
    return 0;
}

CALLED ends_program(uint64_t status)
{
    aero_process_exit(status);
}

CALLED ends_thread(uint64_t status)
{
    aero_thread_exit(status);
}

CALLED joins_nobody(void)
{
    struct aero_thread thread;

    /* A thread that waits in a call that the host never answers. */
    must("aero_thread_spawn", aero_thread_spawn(&thread, (int (*)(void *))(void *)add, NULL));
    aero_thread_wait(&thread);
    return (uint64_t)aero_syscall(0x2001, 0, 0, 0, 0, 0, 0);
}

CALLED overflows(uint64_t depth)
{
    volatile char frame[4096];

    frame[0] = (char)depth;
    return depth == 0 ? 0 : overflows(depth - 1) + (uint64_t)frame[0];
}

CALLED forges_return(void)
{
    return (uint64_t)aero_syscall(0x3000, 77, 0, 0, 0, 0, 0);
}

/* The sum of what the host wrote. */
CALLED sum(const uint8_t *bytes, uint64_t length)
{
    uint64_t total = 0;

    while (length--)
        total += *bytes++;
    return total;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "wait") == 0) {
        aero_print("waiting\n");
        while (!go)
            aero_thread_yield();
        return (int)answer;
    }
    if (strcmp(what, "sleep") == 0)
        return (int)aero_syscall(0x2001, 0, 0, 0, 0, 0, 0);
    if (strcmp(what, "ask") == 0) {
        int64_t result = aero_syscall(0x2000, 1, 2, 3, 4, ~0UL, (uint64_t)text);

        if (aero_failed(result)) {
            aero_print(aero_error_name(result));
            return 99;
        }
        return (int)result;
    }
    if (strcmp(what, "ask-bad") == 0) {
        static const uint64_t bad[] = {
            0, 8, 0x123456789000UL, AERO_USER_END - 4, AERO_USER_END, 0x800000000000UL, 0xffff800000000000UL, ~0UL, ~0UL - 7,
        };

        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
            expect("a call with a bad pointer", aero_syscall(0x2000, bad[i], 0, 0, 0, 0, 0), -AERO_EFAULT);
        expect("a call with a pointer to constants", aero_syscall(0x2000, (uint64_t)constant, 0, 0, 0, 0, 0), -AERO_EFAULT);
        expect("a call with a good pointer", aero_syscall(0x2000, (uint64_t)text, 0, 0, 0, 0, 0), 0);
        return verdict("api");
    }
    if (strcmp(what, "grow") == 0) {
        aero_print("growing\n");
        for (;;) {
            aero_null();
            count++;
        }
    }
    return 0;
}
