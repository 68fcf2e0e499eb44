/* System calls in a loop, for measuring:  calls null|getuid|yield|print N */
#include "check.h"

#define LINUX_GETUID 102

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "null";
    uint64_t count = number_or(argc > 2 ? argv[2] : NULL, 1000);
    int64_t sum = 0;

    if (strcmp(what, "null") == 0)
        for (uint64_t i = 0; i < count; i++)
            sum |= aero_null();
    else if (strcmp(what, "getuid") == 0)
        for (uint64_t i = 0; i < count; i++)
            sum |= aero_syscall(LINUX_GETUID, 0, 0, 0, 0, 0, 0);
    else if (strcmp(what, "yield") == 0)
        for (uint64_t i = 0; i < count; i++)
            sum |= aero_thread_yield();
    else if (strcmp(what, "print") == 0)
        for (uint64_t i = 0; i < count; i++)
            sum |= aero_print("x\n");
    else
        return 2;
    return sum < 0;
}
