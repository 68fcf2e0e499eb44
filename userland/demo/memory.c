/* Mapping, protecting and unmapping memory; checks what the kernel promises about each.
 *
 * What cannot be shown here is what an access to a page without the right does: it ends the program (see the tests). */
#include <aero.h>

#define AREA 0x100000000UL /* 4 GiB: anything between AERO_USER_MIN and AERO_USER_END that is not mapped yet */
#define PAGES 64UL
#define LENGTH (PAGES * AERO_PAGE_SIZE)

static int failures;

static void check(bool ok, const char *what)
{
    aero_print(ok ? "ok    " : "WRONG ");
    aero_print(what);
    aero_print("\n");
    failures += !ok;
}

static bool all_words_are(uint64_t address, uint64_t length, uint64_t word)
{
    const volatile uint64_t *words = (const uint64_t *)address;

    for (uint64_t i = 0; i < length / sizeof *words; i++)
        if (words[i] != word)
            return false;
    return true;
}

static void fill(uint64_t address, uint64_t length, uint64_t word)
{
    volatile uint64_t *words = (uint64_t *)address;

    for (uint64_t i = 0; i < length / sizeof *words; i++)
        words[i] = word;
}

int main(void)
{
    check(aero_mmap(AREA, LENGTH, AERO_READ | AERO_WRITE) == 0, "mmap gives pages at the very address asked for");
    check(all_words_are(AREA, LENGTH, 0), "and they are zero");
    fill(AREA, LENGTH, 0x5a5a5a5a);

    check(aero_mmap(AREA + LENGTH - AERO_PAGE_SIZE, LENGTH, AERO_READ) == -AERO_EEXIST,
          "mapping over a mapped page is refused");
    check(aero_mmap(AREA + 1, LENGTH, AERO_READ) == -AERO_EINVAL, "so is an address inside a page");

    check(aero_mprotect(AREA, LENGTH, AERO_READ) == 0, "mprotect takes the right to write away");
    check(all_words_are(AREA, LENGTH, 0x5a5a5a5a), "and leaves the contents");
    check(aero_mprotect(AREA, LENGTH, AERO_READ | AERO_WRITE) == 0, "mprotect gives it back");
    fill(AREA, LENGTH, 0xa5a5a5a5);

    check(aero_munmap(AREA, LENGTH / 2) == 0, "half of it can be unmapped");
    check(aero_munmap(AREA, LENGTH / 2) == -AERO_EFAULT, "but not twice");
    check(all_words_are(AREA + LENGTH / 2, LENGTH / 2, 0xa5a5a5a5), "the other half is untouched");

    check(aero_mmap(AREA, LENGTH / 2, AERO_READ | AERO_WRITE) == 0, "the hole can be mapped again");
    check(all_words_are(AREA, LENGTH / 2, 0), "with zeroed pages, whatever they held before");
    check(aero_munmap(AREA, LENGTH) == 0, "all of it goes at once");
    return failures != 0;
}
