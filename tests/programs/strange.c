/* Calls that nobody serves, each of another number:  strange [TIMES] */
#include "check.h"

int main(int argc, char **argv)
{
    uint64_t times = number_or(argc > 1 ? argv[1] : NULL, 100);

    for (uint64_t i = 0; i < times; i++)
        expect("a call of nobody's", aero_syscall(0x100000 + i, 0, 0, 0, 0, 0, 0), -AERO_ENOSYS);
    return failures != 0;
}
