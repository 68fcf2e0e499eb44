/* What the controller sees in a frame (datasheet sections 7.1.6, 7.1.11 and 7.1.2.8): packet type, checksums, hash. */
#include "inside.h"

enum { TYPE_IPV4 = 1, TYPE_IPV4_OPTIONS = 2, TYPE_IPV6 = 4, TYPE_IPV6_EXTENSIONS = 8, TYPE_TCP = 16, TYPE_UDP = 32,
       TYPE_SCTP = 64 };
enum { UDPCS = 1u << 4, L4CS = 1u << 5, IPCS = 1u << 6, TCPE = 1u << 30, IPE = 1u << 31 };

static uint16_t word(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* The sum of 16-bit words as they lie in memory, first byte low: the ones' complement sum does not depend on that. */
uint32_t ix_sum(const uint8_t *data, unsigned length, uint32_t sum)
{
    uint64_t wide = sum;
    uint32_t four;

    for (; length >= 4; data += 4, length -= 4) {
        memcpy(&four, data, 4);
        wide += four;
    }
    if (length & 2) {
        wide += (uint32_t)(data[0] | data[1] << 8);
        data += 2;
    }
    if (length & 1)
        wide += data[0];
    wide = (wide & 0xffffffff) + (wide >> 32);
    wide = (wide & 0xffffffff) + (wide >> 32);
    wide = (wide & 0xffff) + (wide >> 16);
    return (uint32_t)wide;
}

uint16_t ix_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)(sum + (sum >> 16));
}

/* Of TCP or UDP at `at`, `length` bytes, with the addresses for the pseudo header. */
static void look_at_segment(struct frame *frame, unsigned at, unsigned length, const uint8_t *addresses,
                            unsigned addresses_length, uint8_t protocol)
{
    struct facts *facts = &frame->facts;
    const uint8_t *l4 = frame->data + at;
    uint32_t sum;

    if (length < (protocol == 6 ? 20u : 8u))
        return;
    if (protocol == 17 && word(l4 + 6) == 0 && addresses_length == 8)
        return; /* no checksum */
    sum = ix_sum(addresses, addresses_length, (uint32_t)(protocol << 8));
    sum = ix_sum((const uint8_t[]){(uint8_t)(length >> 8), (uint8_t)length}, 2, sum);
    sum = ix_fold(ix_sum(l4, length, sum));
    facts->status |= L4CS | (protocol == 17 ? UDPCS : 0) | (sum == 0xffff ? 0 : TCPE);
}

static void look_at_layer4(struct frame *frame, unsigned at, unsigned length, uint8_t protocol,
                           const uint8_t *addresses, unsigned addresses_length)
{
    struct facts *facts = &frame->facts;
    bool v4 = addresses_length == 8;

    switch (protocol) {
    case 6:
        facts->type |= TYPE_TCP;
        if (length >= 20)
            facts->hashed = v4 ? 1 : 3;
        break;
    case 17:
        facts->type |= TYPE_UDP;
        if (length >= 8)
            facts->hashed = v4 ? 7 : 8;
        break;
    case 132:
        facts->type |= TYPE_SCTP;
        return;
    default:
        return;
    }
    facts->l4 = (uint8_t)at;
    look_at_segment(frame, at, length, addresses, addresses_length, protocol);
}

static void look_at_ipv4(struct frame *frame, unsigned at)
{
    struct facts *facts = &frame->facts;
    const uint8_t *ip = frame->data + at;
    unsigned header, total;

    if (frame->length < at + 20 || ip[0] >> 4 != 4)
        return;
    header = (ip[0] & 15) * 4u;
    total = word(ip + 2);
    if (header < 20 || total < header || at + total > frame->length)
        return;
    facts->type |= header > 20 ? TYPE_IPV4 | TYPE_IPV4_OPTIONS : TYPE_IPV4;
    facts->hashed = 2;
    facts->status |= IPCS;
    if (ix_fold(ix_sum(ip, header, 0)) != 0xffff)
        facts->status |= IPE;
    facts->ip_id = word(ip + 4);
    if (word(ip + 6) & 0x3fff) {
        facts->fragment = true;
        facts->payload_sum = ix_fold(ix_sum(ip + header, total - header, 0));
        return;
    }
    look_at_layer4(frame, at + header, total - header, ip[9], ip + 12, 8);
}

static void look_at_ipv6(struct frame *frame, unsigned at)
{
    struct facts *facts = &frame->facts;
    const uint8_t *ip = frame->data + at;
    unsigned next = at + 40, end;
    uint8_t protocol;

    if (frame->length < at + 40 || ip[0] >> 4 != 6)
        return;
    end = next + word(ip + 4);
    if (end > frame->length)
        return;
    facts->type |= TYPE_IPV6;
    facts->hashed = 5;
    protocol = ip[6];
    for (int i = 0; i < 8 && (protocol == 0 || protocol == 43 || protocol == 60 || protocol == 44); i++) {
        facts->type |= TYPE_IPV6_EXTENSIONS;
        if (next + 8 > end || next > 200)
            return;
        if (protocol == 44) {
            facts->fragment = true;
            return;
        }
        protocol = frame->data[next];
        next += (frame->data[next + 1] + 1) * 8u;
    }
    if (next > end || next > 200)
        return;
    look_at_layer4(frame, next, end - next, protocol, ip + 8, 32);
}

/* Fills in frame->facts. */
void ix_look_at(const struct ixgbe *e, struct frame *frame)
{
    struct facts *facts = &frame->facts;
    unsigned at = 14;

    memset(facts, 0, sizeof *facts);
    facts->cast = !(frame->data[0] & 1) ? 0 : memcmp(frame->data, "\xff\xff\xff\xff\xff\xff", 6) ? 1 : 2;
    if (frame->length < 18)
        return;
    if (word(frame->data + 12) == (reg(e, VLNCTRL) & 0xffff)) {
        facts->tagged = true;
        facts->tag = word(frame->data + 14);
        at = 18;
    }
    switch (word(frame->data + at - 2)) {
    case 0x0800:
        look_at_ipv4(frame, at);
        break;
    case 0x86dd:
        look_at_ipv6(frame, at);
        break;
    }
}

/* Toeplitz: for each bit set of the input, the 32 bits of the key that begin there. */
static uint32_t toeplitz(const uint8_t *key, const uint8_t *input, unsigned length)
{
    uint64_t window = (uint64_t)key[0] << 56 | (uint64_t)key[1] << 48 | (uint64_t)key[2] << 40 | (uint64_t)key[3] << 32;
    uint32_t hash = 0;

    for (unsigned i = 0; i < length; i++) {
        window |= (uint64_t)key[(i + 4) % 40] << 24;
        for (int bit = 7; bit >= 0; bit--, window <<= 1)
            if (input[i] >> bit & 1)
                hash ^= (uint32_t)(window >> 32);
    }
    return hash;
}

/* The RSS hash and, in *type, of what; type 0 where MRQC does not enable the frame's fields.  Fields: TCP/IPv4 bit 16,
 * IPv4 17, IPv6 20, TCP/IPv6 21, UDP/IPv4 22, UDP/IPv6 23. */
uint32_t ix_rss_hash(const struct ixgbe *e, const struct frame *frame, uint8_t *type)
{
    static const uint8_t field_of[9] = {0, 16, 17, 21, 0, 20, 0, 22, 23};
    const struct facts *facts = &frame->facts;
    uint32_t enabled = reg(e, MRQC);
    uint8_t key[40], input[36];
    bool v4 = facts->type & TYPE_IPV4;
    unsigned at = facts->tagged ? 18 : 14, length = v4 ? 8 : 32;

    *type = facts->hashed;
    if (facts->l4 && !(enabled >> field_of[*type] & 1))
        *type = v4 ? 2 : 5;
    if (!*type || !(enabled >> field_of[*type] & 1)) {
        *type = 0;
        return 0;
    }
    memcpy(key, e->registers + RSSRK, sizeof key);
    memcpy(input, frame->data + at + (v4 ? 12 : 8), length);
    if (*type != 2 && *type != 5) {
        memcpy(input + length, frame->data + facts->l4, 4);
        length += 4;
    }
    return toeplitz(key, input, length);
}

/* IEEE 802.3: CRC-32, as it follows the frame in memory. */
uint32_t ix_frame_check_sequence(const uint8_t *data, unsigned length)
{
    uint32_t crc = ~0u;

    while (length--) {
        crc ^= *data++;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}
