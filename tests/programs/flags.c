/* Flags that a kernel must neither trust nor hand back:  flags NAME  sets one by popf and makes system calls with it.
 *
 * tf ends by a debug exception (vector 1) or is dropped by the kernel; all others must live and exit 0. */
#include "check.h"

#define TF 0x100UL
#define DF 0x400UL
#define IOPL 0x3000UL
#define NT 0x4000UL
#define RF 0x10000UL
#define VM 0x20000UL
#define AC 0x40000UL
#define ID 0x200000UL

/* One null call with these flags set besides the present ones; *after is what they are when it has returned. */
static int64_t null_with(uint64_t flags, uint64_t *after)
{
    int64_t result;

    __asm__ volatile("pushfq\n"
                     "pushfq\n"
                     "orq %2, (%%rsp)\n"
                     "popfq\n"
                     "syscall\n"
                     "pushfq\n"
                     "pop %1\n"
                     "popfq\n"
                     : "=a"(result), "=&r"(*after)
                     : "r"(flags), "a"(AERO_CALL_null)
                     : "rcx", "r11", "cc", "memory");
    return result;
}

static uint64_t flags_now(void)
{
    uint64_t flags;

    __asm__ volatile("pushfq; pop %0" : "=r"(flags));
    return flags;
}

static const struct {
    const char *name;
    uint64_t set;
    uint64_t kept; /* must still be set after the call */
    uint64_t never; /* must not be */
} cases[] = {
    {"tf", TF, 0, 0},
    {"df", DF, DF, 0},
    {"iopl", IOPL, 0, IOPL},
    {"nt", NT, 0, 0}, /* harmless in ring 3 either way; the kernel's own iret must not trip over it */
    {"rf", RF, 0, 0},
    {"vm", VM, 0, VM},
    {"ac", AC, AC, 0},
    {"id", ID, ID, 0},
    {"arithmetic", 0x8d5, 0x8d5, 0}, /* CF PF AF ZF SF OF */
    {"all", 0xffffffffffffffff & ~TF, 0, IOPL | VM},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name))
            continue;
        if (argc < 2 && cases[i].set == TF)
            continue;
        for (int round = 0; round < 20; round++) {
            uint64_t after;

            expect(cases[i].name, null_with(cases[i].set, &after), 0);
            expect("flags kept", (int64_t)(after & cases[i].kept), (int64_t)cases[i].kept);
            expect("flags never given", (int64_t)(after & cases[i].never), 0);
            expect("interrupts are on", (int64_t)(after & 0x202), 0x202);
        }
    }
    expect("IOPL at the end", (int64_t)(flags_now() & IOPL), 0);
    return verdict("flags");
}
