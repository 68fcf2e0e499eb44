/* One program's data must never be seen by another, or by itself in a new mapping.    dirty MIB
 *
 * Maps MIB mebibytes, demands that every word is zero, writes a secret into every word, unmaps half and maps it again
 * (zero again), and exits with the rest still mapped.  Run twice on one machine, it checks what the first left. */
#include "check.h"

#define AREA 0x200000000UL
#define SECRET 0x5ec2e75ec2e75ec2UL

static void demand_zero(const char *what, uint64_t address, uint64_t length)
{
    const volatile uint64_t *words = (uint64_t *)address;

    for (uint64_t i = 0; i < length / 8; i++)
        if (words[i])
            wrong(what, (int64_t)words[i], 0);
}

static void write_secrets(uint64_t address, uint64_t length)
{
    volatile uint64_t *words = (uint64_t *)address;

    for (uint64_t i = 0; i < length / 8; i++)
        words[i] = SECRET;
}

int main(int argc, char **argv)
{
    uint64_t half = number_or(argc > 1 ? argv[1] : NULL, 8) << 19;

    must("mmap", aero_mmap(AREA, 2 * half, AERO_READ | AERO_WRITE));
    demand_zero("a word of a new mapping", AREA, 2 * half);
    write_secrets(AREA, 2 * half);
    must("munmap", aero_munmap(AREA + half, half));
    must("mmap", aero_mmap(AREA + half, half, AERO_READ | AERO_WRITE));
    demand_zero("a word of a mapping made again", AREA + half, half);
    /* The same pages cut small. */
    must("munmap", aero_munmap(AREA + half, half));
    for (uint64_t page = half; page < 2 * half; page += AERO_PAGE_SIZE) {
        if (aero_mmap(AREA + page, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE)) {
            wrong("mmap of a page", 1, 0);
            break;
        }
        demand_zero("a word of a page mapped alone", AREA + page, AERO_PAGE_SIZE);
        write_secrets(AREA + page, AERO_PAGE_SIZE);
        if (page >= half + (1 << 20))
            break;
    }
    return verdict("dirty");
}
