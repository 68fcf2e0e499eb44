/* Three sizes of pages by one mmap, in a machine of 3 GiB (--memory 3G).
 *
 * mmap takes a 1 GiB page for each whole aligned GiB of a range, 2 MiB pages for whole aligned 2 MiB, 4 KiB pages for
 * what is left at both ends, as far as the container's quota has them.  What was mapped as one can only be unmapped,
 * protected or shared as one. */
#include <aero.h>

#define GIANT 0x4000000000UL
#define START (GIANT - AERO_BLOCK_SIZE - AERO_PAGE_SIZE)
#define END (GIANT + AERO_GIANT_SIZE + AERO_PAGE_SIZE)

static void says(const char *what, int64_t result)
{
    aero_print(what);
    aero_print(": ");
    aero_print(aero_error_name(result));
    aero_print("\n");
}

int main(void)
{
    volatile uint64_t *middle = (uint64_t *)(GIANT + AERO_GIANT_SIZE / 2);

    /* A page, a block, a giant, a page. */
    aero_must(aero_mmap(START, END - START, AERO_READ | AERO_WRITE), "mmap");
    for (uint64_t at = START; at < END; at += 64 * AERO_BLOCK_SIZE)
        *(volatile uint64_t *)at = at;
    *middle = 42;

    says("half of the giant", aero_munmap(GIANT, AERO_GIANT_SIZE / 2));
    says("the block and the page before it", aero_munmap(START, GIANT - START));
    aero_print("the giant still holds ");
    aero_print_number((int64_t)*middle);
    aero_print("\n");
    says("the rest", aero_munmap(GIANT, END - GIANT));
    return 0;
}
