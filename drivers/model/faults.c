/* Seeded draws of faults (Marsaglia's xorshift64*). */
#include "faults.h"

enum fault fault_draw(struct faults *faults)
{
    uint32_t drawn;

    faults->draws++;
    faults->state ^= faults->state >> 12;
    faults->state ^= faults->state << 25;
    faults->state ^= faults->state >> 27;
    drawn = (uint32_t)((faults->state * 0x2545f4914f6cdd1dUL >> 32) % 1000000);
    for (int kind = FAULT_LATE; kind < FAULT_KINDS; kind++) {
        if (drawn < faults->per_million[kind]) {
            faults->injected[kind]++;
            return (enum fault)kind;
        }
        drawn -= faults->per_million[kind];
    }
    return FAULT_NONE;
}

bool fault_removed(const struct faults *faults)
{
    return faults->removal_after && faults->draws >= faults->removal_after;
}
