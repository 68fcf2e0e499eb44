/* Maps, writes, verifies and unmaps in cycles:  cycles [N] [SEED]
 *
 * Addresses straddle the borders of page tables (2 MiB, 1 GiB, 512 GiB), so that tables are freed and used again for
 * other places.  A stale translation shows as a page that is not zero when new, or has another mapping's words later. */
#include "check.h"

#define SLOTS 24
#define MOST_PAGES 24UL

static struct mapping {
    uint64_t address;
    uint64_t pages;
    uint64_t stamp;
} slots[SLOTS];

static const uint64_t borders[] = {
    0x40000000UL,      /* 1 GiB */
    0x80000000UL,
    0x8000000000UL,    /* 512 GiB: another entry of the root table */
    0x10000000000UL,
    0x40200000UL,      /* 2 MiB borders inside one table of tables */
    0x40400000UL,
    0x123456600000UL,
    0x7f0000000000UL,
};

static uint64_t word_of(const struct mapping *mapping, uint64_t offset)
{
    return (mapping->address + offset) * 0x9e3779b97f4a7c15UL ^ mapping->stamp;
}

/* Three words a page, not the same ones in all pages. */
static uint64_t offset_in(uint64_t page, int which)
{
    return page * AERO_PAGE_SIZE + ((page * 264 + (uint64_t)which * 1720) & 0xff8);
}

static bool overlaps(uint64_t address, uint64_t pages)
{
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].pages && address < slots[i].address + slots[i].pages * AERO_PAGE_SIZE &&
            slots[i].address < address + pages * AERO_PAGE_SIZE)
            return true;
    return false;
}

static void verify(const struct mapping *mapping)
{
    for (uint64_t page = 0; page < mapping->pages; page++)
        for (int which = 0; which < 3; which++) {
            uint64_t offset = offset_in(page, which);
            uint64_t found = *(volatile uint64_t *)(mapping->address + offset);

            if (found != word_of(mapping, offset))
                wrong("a word of a mapping", (int64_t)found, (int64_t)word_of(mapping, offset));
        }
}

static void fill(const struct mapping *mapping)
{
    for (uint64_t page = 0; page < mapping->pages; page++)
        for (int which = 0; which < 3; which++) {
            uint64_t offset = offset_in(page, which);

            *(volatile uint64_t *)(mapping->address + offset) = word_of(mapping, offset);
        }
}

static void make(struct mapping *mapping, uint64_t *random, uint64_t stamp)
{
    uint64_t pages = 1 + xorshift(random) % MOST_PAGES;
    uint64_t border = borders[xorshift(random) % (sizeof borders / sizeof borders[0])];
    uint64_t address = border - xorshift(random) % (MOST_PAGES + 4) * AERO_PAGE_SIZE;

    if (overlaps(address, pages)) {
        expect("mmap over a mapping", aero_mmap(address, pages * AERO_PAGE_SIZE, AERO_READ), -AERO_EEXIST);
        return;
    }
    mapping->address = address;
    mapping->pages = pages;
    mapping->stamp = stamp;
    must("mmap", aero_mmap(address, pages * AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    for (uint64_t page = 0; page < pages; page++)
        for (uint64_t offset = 0; offset < AERO_PAGE_SIZE; offset += 64) {
            uint64_t found = *(volatile uint64_t *)(address + page * AERO_PAGE_SIZE + offset);

            if (found)
                wrong("a word of a new page", (int64_t)found, 0);
        }
    fill(mapping);
}

/* Takes some pages off one end, so that tables are freed piecemeal. */
static void shrink(struct mapping *mapping, uint64_t *random)
{
    uint64_t pages = 1 + xorshift(random) % mapping->pages;
    uint64_t rest = mapping->pages - pages;

    if (xorshift(random) & 1) {
        must("munmap", aero_munmap(mapping->address + rest * AERO_PAGE_SIZE, pages * AERO_PAGE_SIZE));
        mapping->pages = rest;
        return;
    }
    must("munmap", aero_munmap(mapping->address, pages * AERO_PAGE_SIZE));
    /* The words depend on the address they were made for: write those of the rest anew. */
    mapping->address += pages * AERO_PAGE_SIZE;
    mapping->pages = rest;
    fill(mapping);
}

static void protect(const struct mapping *mapping)
{
    must("mprotect", aero_mprotect(mapping->address, mapping->pages * AERO_PAGE_SIZE, AERO_READ));
    verify(mapping);
    must("mprotect", aero_mprotect(mapping->address, mapping->pages * AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    fill(mapping);
}

int main(int argc, char **argv)
{
    uint64_t cycles = number_or(argc > 1 ? argv[1] : NULL, 300);
    uint64_t random = number_or(argc > 2 ? argv[2] : NULL, 1) * 0x2545f4914f6cdd1dUL | 1;

    for (uint64_t cycle = 1; cycle <= cycles; cycle++) {
        struct mapping *mapping = &slots[xorshift(&random) % SLOTS];

        if (!mapping->pages)
            make(mapping, &random, cycle);
        else {
            verify(mapping);
            if (xorshift(&random) % 4 == 0)
                protect(mapping);
            else
                shrink(mapping, &random);
        }
        if (cycle % 64 == 0)
            for (int i = 0; i < SLOTS; i++)
                verify(&slots[i]);
    }
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].pages) {
            verify(&slots[i]);
            expect("munmap at the end", aero_munmap(slots[i].address, slots[i].pages * AERO_PAGE_SIZE), 0);
        }
    return verdict("cycles");
}
