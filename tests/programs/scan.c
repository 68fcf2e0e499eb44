/* All memory there is must be zero when it is got:  scan [TIMES]
 *
 * Takes all the machine has, in 2 MiB pages and then in 4 KiB pages, demands that every word is zero, writes a secret
 * into every word, reads them TIMES times (nobody else may have written them), and exits with all of it mapped. */
#include "check.h"

#define AREA 0x100000000UL
#define SECRET 0xfeedfacecafebeefUL

static uint64_t take(uint64_t address, uint64_t size)
{
    uint64_t end = address;

    while (aero_mmap(end, size, AERO_READ | AERO_WRITE) == 0)
        end += size;
    return end;
}

static void demand(const char *what, uint64_t start, uint64_t end, uint64_t word)
{
    for (uint64_t at = start; at < end; at += 8)
        if (*(volatile uint64_t *)at != word)
            wrong(what, *(volatile int64_t *)at, (int64_t)word);
}

int main(int argc, char **argv)
{
    uint64_t times = number_or(argc > 1 ? argv[1] : NULL, 1);
    uint64_t end = take(take(AREA, AERO_BLOCK_SIZE), AERO_PAGE_SIZE);

    demand("a word of a new page", AREA, end, 0);
    for (uint64_t at = AREA; at < end; at += 8)
        *(volatile uint64_t *)at = SECRET;
    for (uint64_t i = 0; i < times; i++)
        demand("a word of one's own", AREA, end, SECRET);
    aero_print_number((int64_t)(end - AREA));
    aero_print(" bytes\n");
    return verdict("scan");
}
