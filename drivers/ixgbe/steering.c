/* Which queue a frame goes to (datasheet section 7.1.2): filters of EtherTypes, then of five-tuples, then the hash. */
#include "inside.h"

enum { ETQF = 0x5128, ETQS = 0xec00, SAQF = 0xe000, DAQF = 0xe200, SDPQF = 0xe400, FTQF = 0xe600, L34TIMIR = 0xe800 };
#define FILTERS 128
#define ENABLED (1u << 31)

void ixgbe_steer(struct ixgbe *e)
{
    e->steered = false;
    for (uint32_t i = 0; i < 8; i++)
        e->steered |= reg(e, ETQF + 4 * i) >> 31;
    for (uint32_t i = 0; i < FILTERS; i++)
        e->steered |= reg(e, FTQF + 4 * i) >> 31;
}

/* Section 7.1.2.3.  The packet type of what matches says which filter it was. */
static bool by_ethertype(const struct ixgbe *e, struct frame *frame, unsigned *queue)
{
    unsigned at = frame->facts.tagged ? 16 : 12, type = (unsigned)(frame->data[at] << 8 | frame->data[at + 1]);

    for (uint32_t i = 0; i < 8; i++) {
        uint32_t filter = reg(e, ETQF + 4 * i), to = reg(e, ETQS + 4 * i);

        if (!(filter & ENABLED) || (filter & 0xffff) != type)
            continue;
        frame->facts.type = (uint16_t)(0x800 | i);
        if (to & ENABLED) {
            *queue = to >> 16 & 127;
            return true;
        }
    }
    return false;
}

/* Section 7.1.2.5: bits 29:25 of FTQF are set for what need not match; of those that do, the highest priority counts. */
static bool by_five_tuple(const struct ixgbe *e, const struct frame *frame, unsigned *queue)
{
    const uint8_t *ip = frame->data + (frame->facts.tagged ? 18 : 14);
    uint32_t protocol, source, target, ports = 0, best = 0;
    bool found = false;

    if (!(frame->facts.type & 1) || frame->facts.fragment) /* IPv4 */
        return false;
    protocol = ip[9] == 6 ? 0 : ip[9] == 17 ? 1 : ip[9] == 132 ? 2 : 3;
    memcpy(&source, ip + 12, 4);
    memcpy(&target, ip + 16, 4);
    if (frame->facts.l4)
        memcpy(&ports, frame->data + frame->facts.l4, 4);
    for (uint32_t i = 0; i < FILTERS; i++) {
        uint32_t filter = reg(e, FTQF + 4 * i), priority = filter >> 2 & 7, wanted = reg(e, SDPQF + 4 * i);

        if (!(filter & ENABLED) || (found && priority <= best))
            continue;
        if ((!(filter >> 25 & 1) && reg(e, SAQF + 4 * i) != source) ||
            (!(filter >> 26 & 1) && reg(e, DAQF + 4 * i) != target) ||
            (!(filter >> 27 & 1) && (!frame->facts.l4 || (wanted & 0xffff) != (ports & 0xffff))) ||
            (!(filter >> 28 & 1) && (!frame->facts.l4 || wanted >> 16 != ports >> 16)) ||
            (!(filter >> 29 & 1) && (filter & 3) != protocol))
            continue;
        found = true;
        best = priority;
        *queue = reg(e, L34TIMIR + 4 * i) >> 21 & 127;
    }
    return found;
}

/* Also says the frame's hash and its type, which a descriptor may tell. */
unsigned ix_queue_of(const struct ixgbe *e, struct frame *frame, uint32_t *hash, uint8_t *type)
{
    unsigned queue;

    *hash = 0;
    *type = 0;
    if ((reg(e, MRQC) & 15) == 1)
        *hash = ix_rss_hash(e, frame, type);
    if (e->steered && (by_ethertype(e, frame, &queue) || by_five_tuple(e, frame, &queue)))
        return queue;
    return *type ? e->registers[RETA + (*hash & 127)] & 15 : 0;
}
