/* Receiving (datasheet section 7.1): filters, the queue, descriptors, write-back. */
#include "inside.h"

#define SOON 32 /* frames to prepare for */

enum { DD = 1, EOP = 2, VP = 8, PIF = 128 };
#define RXE (1u << 29)
enum { LEGACY = 0, ONE_BUFFER = 1, HEADER_SPLIT = 2, HEADER_ALWAYS = 5 };

/* Multicast: 12 bits of the last two bytes of the address, which ones MCSTCTRL.MO says, are a bit of MTA. */
static bool hash_matches(const struct ixgbe *e, const uint8_t *address)
{
    uint32_t high = address[4] | (uint32_t)address[5] << 8, control = reg(e, MCSTCTRL);
    uint32_t bit = high >> (4 - (control & 3)) & 0xfff;

    return control & 4 && reg(e, MTA + (bit >> 5) * 4) >> (bit & 31) & 1;
}

static bool address_matches(const struct ixgbe *e, const uint8_t *address)
{
    uint32_t low, high;

    memcpy(&low, address, 4);
    high = address[4] | (uint32_t)address[5] << 8;
    for (uint32_t i = 0; i < 128; i++) {
        uint32_t entry = reg(e, RAL + 8 * i + 4);

        if (entry >> 31 && (entry & 0xffff) == high && reg(e, RAL + 8 * i) == low)
            return true;
    }
    return false;
}

/* Section 7.1.1.1.  *inexact: it passed by the multicast hash alone. */
static bool passes(const struct ixgbe *e, const struct frame *frame, bool *inexact)
{
    uint32_t control = reg(e, FCTRL), vlan = reg(e, VLNCTRL);
    const struct facts *facts = &frame->facts;
    bool passed;

    *inexact = false;
    switch (facts->cast) {
    case 0:
        passed = control >> 9 & 1 || address_matches(e, frame->data);
        break;
    case 1:
        passed = control >> 8 & 1 || address_matches(e, frame->data);
        if (!passed)
            passed = *inexact = hash_matches(e, frame->data);
        break;
    default:
        passed = control >> 10 & 1;
    }
    if (passed && facts->tagged && vlan >> 30 & 1) {
        uint32_t id = facts->tag & 0xfff;

        passed = reg(e, VFTA + (id >> 5) * 4) >> (id & 31) & 1;
    }
    return passed;
}

static uint32_t dwords(const struct frame *frame, const struct ixgbe *e, uint32_t hash, uint8_t type, uint32_t *first)
{
    *first = frame->facts.type << 4;
    if (reg(e, RXCSUM) >> 13 & 1) {
        *first |= type;
        return hash;
    }
    return frame->facts.fragment ? frame->facts.ip_id | (uint32_t)frame->facts.payload_sum << 16 : 0;
}

/* Writes frame bytes from `at` on to a descriptor's buffer.  The last bytes of a frame that is not stripped are its FCS. */
static bool store(struct ixgbe *e, uint64_t address, const struct frame *frame, unsigned at, unsigned length,
                  unsigned total)
{
    unsigned of_frame = at >= frame->length ? 0 : frame->length - at < length ? frame->length - at : length;

    if (of_frame) {
        uint8_t *to = dma_at(e->dma, address, of_frame, true);

        if (to)
            memcpy(to, frame->data + at, of_frame);
        else if (!dma_write(e->dma, address, frame->data + at, of_frame))
            return false;
    }
    if (of_frame < length) {
        uint32_t fcs = ix_frame_check_sequence(frame->data, frame->length) ^ (frame->damaged ? 1 : 0);
        unsigned from = at + of_frame - (total - 4);

        return dma_write(e->dma, address + of_frame, (const uint8_t *)&fcs + from, length - of_frame);
    }
    return true;
}

static bool write_back(struct ixgbe *e, struct ring *ring, unsigned queue, uint64_t low, uint64_t high)
{
    uint64_t at = ring->base + ring->head * 16UL;
    uint64_t *descriptor = dma_at(e->dma, at, 16, true);

    if (!descriptor) {
        ix_dma_fault(e, false, queue, at);
        return false;
    }
    if (ring->kind != LEGACY) /* a legacy descriptor keeps its address */
        __atomic_store_n(&descriptor[0], low, __ATOMIC_RELAXED);
    __atomic_store_n(&descriptor[1], high, __ATOMIC_RELEASE);
    if (++ring->head == ring->count)
        ring->head = 0;
    return true;
}

/* Puts a frame into a ring that has the descriptors for it: data first, then the descriptor, its status last. */
static bool fill(struct ixgbe *e, struct ring *ring, unsigned queue, const struct frame *given, uint32_t status,
                 uint32_t hash, uint8_t type)
{
    struct frame frame = *given;
    bool strip_crc = reg(e, HLREG0) >> 1 & 1;
    uint8_t stripped[64];
    unsigned total, at = 0;
    uint64_t tag = 0;
    uint32_t first, second;

    if (frame.facts.tagged && reg(e, ring->tail_at + 0x10) >> 30 & 1) { /* RXDCTL.VME: the tag goes to the descriptor */
        tag = frame.facts.tag;
        status |= VP;
        if (frame.length - 4 <= sizeof stripped) {
            memcpy(stripped, frame.data, 12);
            memcpy(stripped + 12, frame.data + 16, frame.length - 16);
            frame.data = stripped;
        } else {
            memcpy(e->segment, frame.data, 12);
            memcpy(e->segment + 12, frame.data + 16, frame.length - 16);
            frame.data = e->segment;
        }
        frame.length -= 4;
    }
    total = frame.length + (strip_crc ? 0 : 4);
    second = dwords(given, e, hash, type, &first);
    do {
        unsigned piece = total - at < ring->buffer ? total - at : ring->buffer;
        uint64_t where = ring->base + ring->head * 16UL, address, low, high;
        const uint64_t *descriptor = dma_at(e->dma, where, 16, true);
        uint32_t now = at + piece == total ? status | DD | EOP : DD;

        if (!descriptor) {
            ix_dma_fault(e, false, queue, where);
            return false;
        }
        address = __atomic_load_n(&descriptor[0], __ATOMIC_ACQUIRE);
        if (!store(e, address, &frame, at, piece, total)) {
            ix_dma_fault(e, false, queue, address);
            return false;
        }
        at += piece;
        if (ring->kind == LEGACY) {
            low = address;
            high = piece | (uint64_t)given->facts.payload_sum << 16 | (uint64_t)(now & 0xff) << 32 |
                   (uint64_t)(now >> 24 & 0xe0) << 40 | tag << 48;
        } else {
            low = first | (uint64_t)second << 32;
            high = now | (uint64_t)piece << 32 | tag << 48;
        }
        if (!write_back(e, ring, queue, low, high))
            return false;
    } while (at < total);
    return true;
}

/* The same for a frame that fits in one buffer and needs nothing but to be put there: most of them. */
static bool fill_one(struct ixgbe *e, struct ring *ring, unsigned queue, const struct frame *frame, uint32_t status,
                     uint32_t hash, uint8_t type)
{
    uint64_t where = ring->base + ring->head * 16UL, address;
    uint64_t *descriptor = dma_at(e->dma, where, 16, true);
    uint32_t first, second = dwords(frame, e, hash, type, &first);
    uint8_t *to;

    if (!descriptor) {
        ix_dma_fault(e, false, queue, where);
        return false;
    }
    address = __atomic_load_n(&descriptor[0], __ATOMIC_RELAXED);
    to = dma_at(e->dma, address, frame->length, true);
    if (!to)
        return fill(e, ring, queue, frame, status, hash, type);
    memcpy(to, frame->data, frame->length);
    __atomic_store_n(&descriptor[0], first | (uint64_t)second << 32, __ATOMIC_RELAXED);
    __atomic_store_n(&descriptor[1], status | DD | EOP | (uint64_t)frame->length << 32, __ATOMIC_RELEASE);
    if (++ring->head == ring->count)
        ring->head = 0;
    return true;
}

/* Which of 16 counters a queue has: four of RQSMR's bytes a register. */
static unsigned counter_of(const struct ixgbe *e, unsigned queue)
{
    return e->registers[RQSMR + queue] & 15;
}

static unsigned free_descriptors(const struct ring *ring)
{
    return ring->tail >= ring->head ? ring->tail - ring->head : ring->tail + ring->count - ring->head;
}

static enum taken into_ring(struct ixgbe *e, const struct frame *frame, unsigned queue, uint32_t status, uint32_t hash,
                            uint8_t type, bool wait)
{
    struct ring *ring = &e->rx[queue];
    unsigned total, needed, free;
    enum fault fault;

    if (!ring->enabled && e->watched && !e->looked) { /* it may have been enabled just now */
        e->looked = true;
        ix_look_at_rings(e);
    }
    if (!ring->enabled || ring->stopped)
        goto drop;
    total = frame->length + (reg(e, HLREG0) & 2 ? 0 : 4);
    needed = total <= ring->buffer ? 1 : (total + ring->buffer - 1) / ring->buffer;
    if (needed >= ring->count) {
        ixgbe_error(e, IXGBE_BUFFER_SIZE, queue, total);
        goto drop;
    }
    free = free_descriptors(ring);
    if (needed > free) {
        /* The tail is in a cache line that the driver writes: it is looked at only when it matters. */
        ring->tail = reg(e, ring->tail_at);
        if (ring->tail >= ring->count) {
            ixgbe_error(e, IXGBE_TAIL_BEYOND, queue, ring->tail);
            ix_stop_queue(e, false, queue);
            goto drop;
        }
        free = free_descriptors(ring);
    }
    if (needed > free || (ring->not_before && ix_now() < ring->not_before)) {
        if (wait || (!ring->drop && needed > free) || needed <= free)
            return NO_DESCRIPTOR;
        goto drop;
    }
    ring->not_before = 0;
    fault = e->faulty ? fault_draw(e->faults) : FAULT_NONE;
    if (fault == FAULT_LATE) {
        ring->not_before = ix_now() + e->faults->late_ns;
        return NO_DESCRIPTOR;
    }
    if (fault == FAULT_ERROR)
        status |= RXE;
    if (fault == FAULT_LOST)
        return DROPPED; /* it came, and nobody hears of it */
    if (needed == 1 && total == frame->length && !frame->facts.tagged && ring->kind != LEGACY
            ? !fill_one(e, ring, queue, frame, status, hash, type)
            : !fill(e, ring, queue, frame, status, hash, type))
        return DROPPED;
    if (fault == FAULT_DUPLICATED && needed < free)
        fill(e, ring, queue, frame, status, hash, type);
    ring->packets++;
    ring->octets += total; /* of a queue: what goes to memory */
    e->rx_dirty[queue / 64] |= 1UL << queue % 64;
    return TAKEN;
drop:
    ix_count32(e, QPRDC + 0x40 * counter_of(e, queue), 1);
    return DROPPED;
}

/* Keeps a frame in the packet buffer until its queue has descriptors again; what does not fit is missed. */
static enum taken keep(struct ixgbe *e, const struct frame *frame)
{
    uint32_t size = reg(e, RXPBSIZE) & 0xffc00, space = (frame->length + 15) & ~7u;

    if (e->buffered + space > size || e->buffer_end + space > 2 * IXGBE_BAR * 8) {
        ix_count32(e, MPC, 1);
        ixgbe_cause(e, EICR_MISSED);
        return DROPPED;
    }
    ix_count32(e, RNBC, 1);
    memcpy(e->buffer + e->buffer_end, &frame->length, 4);
    memcpy(e->buffer + e->buffer_end + 4, &(uint32_t){frame->damaged}, 4);
    memcpy(e->buffer + e->buffer_end + 8, frame->data, frame->length);
    e->buffer_end += space;
    e->buffered += space;
    return NO_DESCRIPTOR;
}

static enum taken to_queue(struct ixgbe *e, const struct frame *given, bool inexact, bool wait)
{
    struct frame frame = *given;
    uint32_t hash, status = frame.facts.status | (inexact ? PIF : 0) | (frame.damaged ? RXE : 0);
    uint8_t type;
    unsigned queue = ix_queue_of(e, &frame, &hash, &type);

    return into_ring(e, &frame, queue, status, hash, type, wait);
}

static void count_any(struct ixgbe *e, const struct frame *frame)
{
    e->all_packets++;
    e->all_octets += frame->length + 4;
}

/* The same frame `most` times, or as often as there are descriptors: what is decided about it is decided once.  How often
 * it was; 0 also where that cannot be, and each has to come by itself (ix_receive). */
unsigned ix_receive_same(struct ixgbe *e, const struct frame *given, unsigned most)
{
    struct frame copy = *given, *frame = &copy;
    uint32_t hash, first, second;
    uint8_t type;
    unsigned queue, done = 0;
    struct ring *ring;
    uint64_t low, high;
    bool inexact;

    if (e->faulty || e->buffered || frame->damaged || frame->length < 60 || frame->length > 1514 ||
        frame->facts.tagged || !(reg(e, HLREG0) & 2) || !passes(e, frame, &inexact))
        return 0;
    queue = ix_queue_of(e, frame, &hash, &type);
    ring = &e->rx[queue];
    if (!ring->enabled || ring->stopped || ring->kind == LEGACY || frame->length > ring->buffer)
        return 0;
    ix_receive_soon(e, queue);
    if (ring->tail >= ring->count)
        return 0;
    if (most > free_descriptors(ring))
        most = free_descriptors(ring);
    second = dwords(frame, e, hash, type, &first);
    low = first | (uint64_t)second << 32;
    high = frame->facts.status | (inexact ? PIF : 0) | DD | EOP | (uint64_t)frame->length << 32;
    for (; done < most; done++) {
        uint64_t *descriptor = dma_at(e->dma, ring->base + ring->head * 16UL, 16, true);
        uint8_t *to;

        if (!descriptor || !(to = dma_at(e->dma, __atomic_load_n(&descriptor[0], __ATOMIC_RELAXED), frame->length, true)))
            break;
        memcpy(to, frame->data, 60);
        if (frame->length > 60)
            memcpy(to + 60, frame->data + 60, frame->length - 60);
        __atomic_store_n(&descriptor[0], low, __ATOMIC_RELAXED);
        __atomic_store_n(&descriptor[1], high, __ATOMIC_RELEASE);
        if (++ring->head == ring->count)
            ring->head = 0;
    }
    if (!done)
        return 0;
    e->rx_dirty[queue / 64] |= 1UL << queue % 64;
    ring->packets += done;
    ring->octets += (uint64_t)done * frame->length;
    e->all_packets += done;
    e->all_octets += (uint64_t)done * (frame->length + 4);
    ix_tally(&e->received, frame->data, frame->length, done);
    return done;
}

/* Brings cache lines here that the next frames of a queue will be written to: the driver's core had them. */
void ix_receive_soon(struct ixgbe *e, unsigned queue)
{
    struct ring *ring = &e->rx[queue];
    uint64_t *descriptor;
    unsigned free;

    if (!ring->enabled || ring->stopped)
        return;
    if (!free_descriptors(ring))
        ring->tail = reg(e, ring->tail_at);
    free = ring->tail < ring->count ? free_descriptors(ring) : 0;
    if (free > SOON)
        free = SOON;
    for (unsigned i = 0; i < free; i += 4)
        if ((descriptor = dma_at(e->dma, ring->base + (ring->head + i) % ring->count * 16UL, 16, true)))
            __builtin_prefetch(descriptor, 1);
    for (unsigned i = 0; i < free; i++)
        if ((descriptor = dma_at(e->dma, ring->base + (ring->head + i) % ring->count * 16UL, 16, true)) &&
            (descriptor = dma_at(e->dma, __atomic_load_n(descriptor, __ATOMIC_RELAXED), 1, true)))
            __builtin_prefetch(descriptor, 1);
}

/* Writes what has been put off to the end of a burst: heads, and what queues have counted. */
void ix_receive_flush(struct ixgbe *e)
{
    for (unsigned half = 0; half < 2; half++) {
        for (; e->rx_dirty[half]; e->rx_dirty[half] &= e->rx_dirty[half] - 1) {
            unsigned queue = half * 64 + (unsigned)__builtin_ctzl(e->rx_dirty[half]), counter = counter_of(e, queue);
            struct ring *ring = &e->rx[queue];

            if (!ring->enabled)
                continue;
            put(e, ring->head_at, ring->head);
            ix_count32(e, QPRC + 0x40 * counter, ring->packets);
            ix_count36(e, QBRC + 0x40 * counter, ring->octets);
            ring->packets = 0;
            ring->octets = 0;
            ix_queue_event(e, queue, false);
        }
    }
    if (e->all_packets) {
        ix_count32(e, TPR, e->all_packets);
        ix_count36(e, TOR, e->all_octets);
        e->all_packets = 0;
        e->all_octets = 0;
    }
}

/* A frame comes from the wire.  With `wait` NO_DESCRIPTOR means that it was not taken and nothing was counted;
 * otherwise that it is in the packet buffer. */
enum taken ix_receive(struct ixgbe *e, const struct frame *frame, bool wait)
{
    uint32_t control = reg(e, HLREG0), longest = control & 4 ? (reg(e, MAXFRS) >> 16) - 4 : 1514;
    bool inexact;
    enum taken taken = NO_DESCRIPTOR;

    if (!e->link || !(reg(e, RXCTRL) & 1))
        return DROPPED;
    if (frame->length < 60 || frame->length > longest + (frame->facts.tagged ? 4 : 0) || frame->damaged) {
        count_any(e, frame);
        if (frame->damaged)
            ix_count32(e, CRCERRS, 1);
        else
            ix_count32(e, frame->length < 60 ? RUC : ROC, 1);
        /* FCTRL.SBP keeps what has a wrong FCS alone. */
        if (!frame->damaged || !(reg(e, FCTRL) & 2) || frame->length < 60 || frame->length > longest + 4)
            return DROPPED;
        return to_queue(e, frame, false, false) == NO_DESCRIPTOR ? keep(e, frame) : TAKEN;
    }
    if (!passes(e, frame, &inexact)) {
        count_any(e, frame);
        return DROPPED;
    }
    if (!e->buffered)
        taken = to_queue(e, frame, inexact, wait);
    if (taken == NO_DESCRIPTOR && wait)
        return NO_DESCRIPTOR;
    count_any(e, frame);
    ix_tally(&e->received, frame->data, frame->length, 1);
    return taken == NO_DESCRIPTOR ? keep(e, frame) : taken;
}

/* Takes frames out of the packet buffer, in order, while there are descriptors for them. */
unsigned ix_receive_buffered(struct ixgbe *e)
{
    unsigned done = 0;

    while (e->buffered && done < 64) {
        struct frame frame = {.data = e->buffer + e->buffer_first + 8};
        uint32_t damaged;
        bool inexact = false;

        memcpy(&frame.length, e->buffer + e->buffer_first, 4);
        memcpy(&damaged, e->buffer + e->buffer_first + 4, 4);
        frame.damaged = damaged;
        ix_look_at(e, &frame);
        if (!frame.damaged)
            passes(e, &frame, &inexact);
        if (to_queue(e, &frame, inexact, false) == NO_DESCRIPTOR)
            break;
        e->buffer_first += (frame.length + 15) & ~7u;
        e->buffered -= (frame.length + 15) & ~7u;
        done++;
    }
    if (!e->buffered)
        e->buffer_first = e->buffer_end = 0;
    else if (e->buffer_first > IXGBE_BAR * 8) {
        memmove(e->buffer, e->buffer + e->buffer_first, e->buffered);
        e->buffer_first = 0;
        e->buffer_end = e->buffered;
    }
    return done;
}
