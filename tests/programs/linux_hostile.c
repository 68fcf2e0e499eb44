/* Every Linux call with arguments that nobody means well:  linux_hostile [ROUNDS] [SEED] [FIRST] [LAST]
 *
 * Each call number gets ROUNDS sets of six arguments, chosen at random among wild numbers, pointers that are none, a
 * buffer, descriptors.  The calls may do what they like to this process, short of what is meant to end or to stop it;
 * the kernel must answer each.  Runs without a C library, whose state the calls would break. */
#include "check.h"

#define BUFFER 0x100000000000UL
#define SIZE (16 * AERO_PAGE_SIZE)

/* Calls that wait for ever, end or signal this process, or return into what a buffer says. */
static const uint16_t left_out[] = {
    7, 15, 23, 34, 35, 37, 38, 56, 57, 58, 59, 60, 61, 62, 73, 128, 129, 130, 200, 202, 219, 222, 223, 230, 231, 232, 234,
    240, 242, 243, 247, 270, 271, 281, 297, 322, 424, 425, 426, 435, 441, 449, 454, 455, 456,
};

static bool is_left_out(uint64_t number)
{
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
        if (left_out[i] == number)
            return true;
    return false;
}

static const uint64_t wild[] = {
    0, 1, 2, 3, 4, 7, 16, 100, 4095, 4096, 0x1000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1UL << 32, 1UL << 47,
    1UL << 62, 1UL << 63, ~0UL, ~1UL, ~4095UL, -100UL, 0xffffff9c, 0x7fffffffffffffff, 0xffff800000000000, AERO_USER_END,
    AERO_USER_END - 1, AERO_USER_END - 8, AERO_SYSTEM_BASE + 64, 0x123456789000, 8,
};

static uint64_t argument(uint64_t *random)
{
    uint64_t choice = xorshift(random) % 8;

    if (choice < 4)
        return wild[xorshift(random) % (sizeof wild / sizeof wild[0])];
    if (choice < 6)
        return BUFFER + xorshift(random) % SIZE; /* also so near the end that what follows is not mapped */
    if (choice == 6)
        return xorshift(random) % 12;
    return xorshift(random);
}

int main(int argc, char **argv)
{
    uint64_t rounds = number_or(argc > 1 ? argv[1] : NULL, 4);
    uint64_t random = number_or(argc > 2 ? argv[2] : NULL, 1) * 0x2545f4914f6cdd1dUL | 1;
    uint64_t first = number_or(argc > 3 ? argv[3] : NULL, 0), last = number_or(argc > 4 ? argv[4] : NULL, 470);
    uint64_t answered = 0;

    for (uint64_t number = first; number <= last; number++) {
        if (is_left_out(number))
            continue;
        for (uint64_t round = 0; round < rounds; round++) {
            uint64_t a[6];

            for (int i = 0; i < 6; i++)
                a[i] = argument(&random);
            /* Calls that change mappings are kept away from this program's own. */
            if (number == 9 || number == 10 || number == 11 || number == 25 || number == 28 || number == 30)
                if (a[0] >= BUFFER + SIZE && a[0] < AERO_USER_END)
                    a[0] = BUFFER;
            if ((number == 9 || number == 10 || number == 11 || number == 25) && a[1] > SIZE && a[1] <= AERO_USER_END)
                a[1] = SIZE;
            aero_munmap(BUFFER, SIZE); /* whatever became of it: as it was; refused where the Linux calls have changed it */
            aero_mmap(BUFFER, SIZE, AERO_READ | AERO_WRITE);
            aero_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
            answered++;
        }
    }
    expect_true("calls were answered", answered > 0);
    return verdict("linux_hostile");
}
