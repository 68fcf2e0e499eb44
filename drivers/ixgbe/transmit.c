/* Transmitting (datasheet section 7.2): descriptors, offloads, segmentation, write-back. */
#include "inside.h"

#define SOON 32           /* packets to prepare for */
#define MOST_SEGMENTS 8192 /* that one packet becomes */

enum { DATA = 3, CONTEXT = 2 };
enum { /* dword 2 */ EOP = 1u << 24, IFCS = 1u << 25, LEGACY_IC = 1u << 26, RS = 1u << 27, DEXT = 1u << 29,
       VLE = 1u << 30, TSE = 1u << 31 };
enum { /* dword 3 */ DD = 1, IXSM = 1u << 8, TXSM = 1u << 9 };
enum { UDP = 0, TCP = 1, SCTP = 2 };

struct descriptor {
    uint64_t address;
    uint32_t low, high; /* dwords 2 and 3 */
};

static bool fetch(struct ixgbe *e, const struct ring *ring, unsigned queue, uint32_t index, struct descriptor *to)
{
    uint64_t at = ring->base + index * 16UL, second;
    const uint64_t *from = dma_at(e->dma, at, 16, false);

    if (!from) {
        ix_dma_fault(e, true, queue, at);
        return false;
    }
    to->address = __atomic_load_n(&from[0], __ATOMIC_RELAXED);
    second = __atomic_load_n(&from[1], __ATOMIC_RELAXED);
    to->low = (uint32_t)second;
    to->high = (uint32_t)(second >> 32);
    return true;
}

static unsigned kind_of(const struct descriptor *d)
{
    return d->low & DEXT ? d->low >> 20 & 15 : DATA;
}

/* Tells the driver of what is done, in order: DD in each descriptor that has RS, or the head where TDWBAL says. */
static bool write_back(struct ixgbe *e, struct ring *ring, unsigned queue)
{
    bool told = false;

    while (ring->written != ring->head) {
        uint64_t at = ring->base + ring->written * 16UL;
        uint32_t *dwords = dma_at(e->dma, at, 16, true);

        if (!dwords) {
            ix_dma_fault(e, true, queue, at);
            return false;
        }
        if (ring->written == ring->lost) {
            ring->lost = UINT32_MAX; /* a fault: the driver is never told of this one */
        } else if (__atomic_load_n(&dwords[2], __ATOMIC_RELAXED) & RS) {
            told = true;
            if (!(ring->head_write_back & 1))
                __atomic_store_n(&dwords[3], DD, __ATOMIC_RELEASE);
        }
        if (++ring->written == ring->count)
            ring->written = 0;
    }
    if (told && ring->head_write_back & 1) {
        uint64_t at = ring->head_write_back & ~3UL;
        uint32_t *head = dma_at(e->dma, at, 4, true);

        if (!head) {
            ix_dma_fault(e, true, queue, at);
            return false;
        }
        __atomic_store_n(head, ring->head, __ATOMIC_RELEASE);
    }
    if (told)
        ix_queue_event(e, queue, true);
    return true;
}

static void put16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, 2);
}

/* The ones' complement checksum over bytes from `from`, with what the field holds, into the field. */
static bool insert(uint8_t *packet, unsigned length, unsigned from, unsigned to, unsigned field, bool udp)
{
    uint16_t sum;

    if (from >= to || to > length || field + 2 > length)
        return false;
    sum = (uint16_t)~ix_fold(ix_sum(packet + from, to - from, 0));
    put16(packet + field, udp && sum == 0 ? 0xffff : sum);
    return true;
}

/* What a context descriptor says of headers. */
struct headers {
    unsigned mac, ip, l4, mss, kind;
    bool v4;
};

static struct headers headers_of(const struct context *context)
{
    return (struct headers){.mac = context->low >> 9 & 127, .ip = context->low & 511, .l4 = context->high[1] >> 8 & 255,
                            .mss = context->high[1] >> 16, .kind = context->high[0] >> 11 & 3,
                            .v4 = context->high[0] >> 10 & 1};
}

static bool offload(uint8_t *packet, unsigned length, const struct headers *headers, uint32_t options)
{
    unsigned l4 = headers->mac + headers->ip;

    if (options & IXSM && headers->v4) {
        if (headers->mac + 12 > length)
            return false;
        put16(packet + headers->mac + 10, 0);
        if (!insert(packet, length, headers->mac, l4, headers->mac + 10, false))
            return false;
    }
    if (options & TXSM) {
        if (headers->kind == SCTP || headers->kind > SCTP)
            return false;
        return insert(packet, length, l4, length, l4 + (headers->kind == TCP ? 16 : 6), headers->kind == UDP);
    }
    return true;
}

/* One frame leaves: the tag goes in, what is short is padded, what brings its own FCS is checked. */
static bool send(struct ixgbe *e, unsigned queue, uint8_t *packet, unsigned length, const struct descriptor *last,
                 uint16_t tag)
{
    uint32_t control = reg(e, HLREG0), counter = e->registers[TQSM + queue] & 15;

    if (last->low & VLE && length >= 14) {
        memmove(packet + 16, packet + 12, length - 12);
        put16(packet + 12, __builtin_bswap16((uint16_t)(reg(e, DMATXCTL) >> 16)));
        put16(packet + 14, __builtin_bswap16(tag));
        length += 4;
    }
    if (!(last->low & IFCS) && !(control & 1)) {
        uint32_t fcs;

        if (length < 18)
            return false;
        length -= 4;
        memcpy(&fcs, packet + length, 4);
        if (fcs != ix_frame_check_sequence(packet, length))
            return true; /* the other side drops it */
    } else if (length < 60 && control >> 10 & 1) {
        memset(packet + length, 0, 60 - length);
        length = 60;
    }
    ix_tally(&e->transmitted, packet, length, 1);
    ix_count32(e, QPTC + 0x40 * counter, 1);
    ix_count36(e, QBTC + 8 * counter, length + 4);
    ix_wire_out(e, packet, length);
    return true;
}

/* TCP segmentation (section 7.2.4): the headers again before each MSS bytes, with what changes in them. */
static bool segment(struct ixgbe *e, unsigned queue, unsigned length, const struct headers *headers,
                    const struct descriptor *last, uint32_t options, uint16_t tag)
{
    unsigned header = headers->mac + headers->ip + headers->l4, l4 = headers->mac + headers->ip;
    unsigned at = header, number = 0;

    if (headers->kind != TCP || headers->mss == 0 || headers->l4 < 20 || headers->ip < 20 || header >= length ||
        header + headers->mss > IXGBE_FRAME || (length - header) / headers->mss >= MOST_SEGMENTS)
        return false;
    for (; at < length; number++) {
        unsigned piece = length - at < headers->mss ? length - at : headers->mss;
        uint8_t *to = e->segment, *ip = to + headers->mac, *tcp = to + l4;
        bool end = at + piece == length;
        uint32_t sequence, sum;

        memcpy(to, e->staging, header);
        memcpy(to + header, e->staging + at, piece);
        if (headers->v4) {
            put16(ip + 2, __builtin_bswap16((uint16_t)(headers->ip + headers->l4 + piece)));
            put16(ip + 4, __builtin_bswap16((uint16_t)((ip[4] << 8 | ip[5]) + number)));
        } else {
            put16(ip + 4, __builtin_bswap16((uint16_t)(headers->ip - 40 + headers->l4 + piece)));
        }
        memcpy(&sequence, tcp + 4, 4);
        sequence = __builtin_bswap32(__builtin_bswap32(sequence) + at - header);
        memcpy(tcp + 4, &sequence, 4);
        if (!end)
            tcp[13] &= (uint8_t)~0x09; /* FIN and PSH belong to the last */
        /* The field holds the sum of the pseudo header without the length, which differs. */
        sum = ix_sum(tcp + 16, 2, 0);
        put16(tcp + 16, ix_fold(ix_sum((const uint8_t[]){(uint8_t)((headers->l4 + piece) >> 8),
                                                         (uint8_t)(headers->l4 + piece)}, 2, sum)));
        if (!offload(to, header + piece, headers, options) || !send(e, queue, to, header + piece, last, tag))
            return false;
        at += piece;
    }
    e->segments = number;
    return true;
}

static void refuse(struct ixgbe *e, enum ixgbe_error kind, unsigned queue, uint64_t value, bool *refused)
{
    ixgbe_error(e, kind, queue, value);
    *refused = true;
}

/* Sends the packet of `pieces` data descriptors from the head on.  False: the queue has stopped. */
static bool packet(struct ixgbe *e, struct ring *ring, unsigned queue, unsigned pieces)
{
    struct descriptor first = {0}, d = {0};
    const struct context *context;
    struct headers headers = {0};
    unsigned length = 0, index = ring->head;
    bool refused = false, sent = true;
    uint32_t options;
    uint16_t tag;
    enum fault fault = e->faulty ? fault_draw(e->faults) : FAULT_NONE;

    for (unsigned i = 0; i < pieces; i++, index = index + 1 == ring->count ? 0 : index + 1) {
        unsigned piece;

        if (!fetch(e, ring, queue, index, &d))
            return false;
        if (i == 0)
            first = d;
        piece = d.low & 0xffff;
        if (!piece || piece > IXGBE_FRAME || length + piece > LONGEST_TSO) {
            refuse(e, IXGBE_LENGTH, queue, piece, &refused);
            continue;
        }
        if (!dma_read(e->dma, d.address, e->staging + length, piece)) {
            ix_dma_fault(e, true, queue, d.address);
            return false;
        }
        length += piece;
    }
    options = first.high & (IXSM | TXSM);
    tag = first.low & DEXT ? 0 : (uint16_t)(first.high >> 16);
    if (first.low & DEXT) {
        bool segmented = first.low & TSE, needed = segmented || options || d.low & VLE || first.low & VLE;
        unsigned payload = first.high >> 14;

        context = &ring->context[first.high >> 4 & 1];
        if (needed && !context->valid)
            refuse(e, IXGBE_CONTEXT_MISSING, queue, ring->head, &refused);
        if (needed && context->valid) {
            headers = headers_of(context);
            tag = (uint16_t)(context->low >> 16);
        }
        if (payload != length - (segmented ? headers.mac + headers.ip + headers.l4 : 0) && !refused)
            refuse(e, IXGBE_PAYLEN, queue, payload, &refused);
        d.low |= first.low & (VLE | IFCS);
    } else {
        options = 0;
        if (first.low & LEGACY_IC) {
            unsigned start = first.high >> 8 & 255, field = first.low >> 16 & 255;

            if (!insert(e->staging, length, start, length, field, false))
                refuse(e, IXGBE_LENGTH, queue, field, &refused);
        }
    }
    if (!refused && !(first.low & DEXT && first.low & TSE) && length > IXGBE_FRAME)
        refuse(e, IXGBE_LENGTH, queue, length, &refused);
    if (refused || fault == FAULT_ERROR)
        return true; /* done with, but nothing leaves */
    for (int copy = fault == FAULT_DUPLICATED ? 2 : 1; copy && sent; copy--) {
        if (first.low & DEXT && first.low & TSE)
            sent = segment(e, queue, length, &headers, &d, options, tag);
        else
            sent = (!options || offload(e->staging, length, &headers, options)) &&
                   send(e, queue, e->staging, length, &d, tag);
    }
    if (!sent)
        ixgbe_error(e, IXGBE_LENGTH, queue, length);
    if (fault == FAULT_LATE)
        ring->not_before = ix_now() + e->faults->late_ns;
    if (fault == FAULT_LOST)
        ring->lost = (ring->head + pieces - 1) % ring->count;
    return true;
}

/* One whole packet that needs nothing but to be sent: where it lies; NULL: it is not one of these. */
static uint8_t *plain(struct ixgbe *e, const struct descriptor *d)
{
    uint32_t length = d->low & 0xffff;

    if ((d->low & (EOP | IFCS | DEXT | VLE | TSE | 15u << 20)) != (EOP | IFCS | DEXT | DATA << 20) || e->faulty ||
        d->high & (IXSM | TXSM) || length < 60 || d->high >> 14 != length)
        return NULL;
    return dma_at(e->dma, d->address, length, false);
}

/* How many data descriptors from the head to an end of packet before `tail`, at most `most`; 0: there is none yet. */
static unsigned whole(struct ixgbe *e, struct ring *ring, unsigned queue, uint32_t tail)
{
    unsigned pieces = 0;
    struct descriptor d;

    for (uint32_t index = ring->head; index != tail; index = index + 1 == ring->count ? 0 : index + 1) {
        if (!fetch(e, ring, queue, index, &d))
            return 0;
        if (kind_of(&d) != DATA) {
            ixgbe_error(e, d.low & DEXT && kind_of(&d) != CONTEXT ? IXGBE_DESCRIPTOR_TYPE : IXGBE_NO_EOP, queue, index);
            ix_stop_queue(e, true, queue);
            return 0;
        }
        pieces++;
        if (d.low & EOP)
            return pieces;
        if (pieces == MOST_PIECES || pieces == ring->count - 1) {
            ixgbe_error(e, IXGBE_NO_EOP, queue, index);
            ix_stop_queue(e, true, queue);
            return 0;
        }
    }
    return 0;
}

/* Brings cache lines here that the next packets lie in: the driver's core had them. */
static void transmit_soon(struct ixgbe *e, const struct ring *ring, uint32_t tail)
{
    unsigned count = (tail + ring->count - ring->head) % ring->count;
    const uint64_t *descriptor;

    if (count > SOON)
        count = SOON;
    for (unsigned i = 0; i < count; i += 4)
        if ((descriptor = dma_at(e->dma, ring->base + (ring->head + i) % ring->count * 16UL, 16, false)))
            __builtin_prefetch(descriptor);
    for (unsigned i = 0; i < count; i++)
        if ((descriptor = dma_at(e->dma, ring->base + (ring->head + i) % ring->count * 16UL, 16, false)) &&
            (descriptor = dma_at(e->dma, __atomic_load_n(descriptor, __ATOMIC_RELAXED), 1, false)))
            __builtin_prefetch(descriptor);
}

/* Sends what [head, tail) holds, at most `budget` packets; how many. */
unsigned ix_transmit(struct ixgbe *e, unsigned queue, unsigned budget)
{
    struct ring *ring = &e->tx[queue];
    uint32_t tail = reg(e, ring->tail_at);
    unsigned sent = 0, alone = 0, done = 0, bytes = 0;
    uint32_t counter = e->registers[TQSM + queue] & 15;
    bool at_once = ring->threshold == 0, sunk = ix_wire_plain(e);
    unsigned short_ones = 0;

    if (tail >= ring->count) {
        ixgbe_error(e, IXGBE_TAIL_BEYOND, queue, tail);
        ix_stop_queue(e, true, queue);
        return 0;
    }
    if (ring->not_before) {
        if (ix_now() < ring->not_before)
            return 0;
        ring->not_before = 0;
        if (!write_back(e, ring, queue))
            return 0;
    }
    transmit_soon(e, ring, tail);
    while (ring->head != tail && done < budget && !ring->not_before) {
        struct descriptor d;
        uint8_t *data;
        unsigned pieces = 1;

        if (!fetch(e, ring, queue, ring->head, &d))
            break;
        if (kind_of(&d) == CONTEXT && d.low & DEXT) {
            ring->context[d.high >> 4 & 1] = (struct context){(uint32_t)d.address, {d.low, d.high}, true};
        } else if ((data = plain(e, &d))) {
            unsigned length = d.low & 0xffff;

            if (sunk && !(data[0] & 1) && length == 60) { /* the most usual: counted together */
                short_ones++;
                e->sum += data[8];
            } else {
                ix_tally(&e->transmitted, data, length, 1);
                ix_wire_out(e, data, length);
            }
            bytes += length + 4;
            alone++;
            sent++;
            if (at_once && !(d.low & RS)) { /* nothing to tell of it */
                ring->head = ring->head + 1 == ring->count ? 0 : ring->head + 1;
                done++;
                ring->written = ring->head;
                continue;
            }
        } else {
            pieces = whole(e, ring, queue, tail);
            if (!pieces || !packet(e, ring, queue, pieces))
                break;
            sent++;
            done += e->segments;
            e->segments = 0;
        }
        done++;
        ring->head = ring->head + pieces >= ring->count ? ring->head + pieces - ring->count : ring->head + pieces;
        /* WTHRESH: done descriptors are told of when so many have come together, or there is nothing more to do. */
        if ((ring->head + ring->count - ring->written) % ring->count >= ring->threshold && !ring->not_before &&
            !write_back(e, ring, queue))
            break;
    }
    if (short_ones) {
        static const uint8_t unicast[6];

        ix_tally(&e->transmitted, unicast, 60, short_ones);
        e->sunk += 60UL * short_ones;
    }
    if (bytes) {
        ix_count36(e, QBTC + 8 * counter, bytes);
        ix_count32(e, QPTC + 0x40 * counter, alone);
    }
    if (ring->written != ring->head && !ring->not_before && !ring->stopped)
        write_back(e, ring, queue);
    if (done)
        put(e, ring->head_at, ring->written);
    return sent;
}
