/* Statistics (datasheet section 8.2.3.23): 32-bit counters that stick at their highest value, 36-bit ones in two words. */
#include "inside.h"

void ix_count32(struct ixgbe *e, uint32_t offset, uint32_t more)
{
    uint32_t value = reg(e, offset), sum = value + more;

    put(e, offset, sum < value ? UINT32_MAX : sum);
}

void ix_count36(struct ixgbe *e, uint32_t offset, uint64_t more)
{
    uint64_t value = reg(e, offset) | (uint64_t)(reg(e, offset + 4) & 0xf) << 32;

    value += more;
    if (value >> 36)
        value = (1UL << 36) - 1;
    put(e, offset, (uint32_t)value);
    put(e, offset + 4, (uint32_t)(value >> 32));
}

/* Sizes with FCS: 64, 127, 255, 511, 1023, more. */
void ix_tally(struct tally *tally, const uint8_t *frame, unsigned length, unsigned count)
{
    unsigned size = length + 4;

    tally->packets += count;
    tally->octets += (uint64_t)size * count;
    if (frame[0] & 1) {
        /* The hardware counts broadcasts as multicasts too; drivers subtract them. */
        tally->multicast += count;
        if (memcmp(frame, "\xff\xff\xff\xff\xff\xff", 6) == 0)
            tally->broadcast += count;
    }
    tally->size[size <= 64 ? 0 : size <= 127 ? 1 : size <= 255 ? 2 : size <= 511 ? 3 : size <= 1023 ? 4 : 5] += count;
}

static void flush(struct ixgbe *e, struct tally *tally, const uint32_t at[6])
{
    if (!tally->packets)
        return;
    ix_count32(e, at[0], tally->packets);
    ix_count36(e, at[1], tally->octets);
    for (uint32_t i = 0; i < 6; i++)
        if (tally->size[i])
            ix_count32(e, at[2] + 4 * i, tally->size[i]);
    if (tally->multicast)
        ix_count32(e, at[3], tally->multicast);
    if (tally->broadcast)
        ix_count32(e, at[4], tally->broadcast);
    if (at[5])
        ix_count32(e, at[5], tally->packets);
    *tally = (struct tally){0};
}

void ix_tally_flush(struct ixgbe *e)
{
    flush(e, &e->received, (const uint32_t[]){GPRC, GORC, PRC64, MPRC, BPRC, 0});
    flush(e, &e->transmitted, (const uint32_t[]){GPTC, GOTC, PTC64, MPTC, BPTC, TPT});
}
