/* The registers of rings (datasheet sections 8.2.3.8 and 8.2.3.9): placing, starting, stopping. */
#include "inside.h"

#define RECEIVE_CONTROL 0x42000000u  /* ENABLE, VME */
#define TRANSMIT_CONTROL 0x027f7f7fu /* ENABLE, thresholds */
#define SPLIT 0x14                   /* SRRCTL, among a queue's registers */
#define SPLIT_BITS 0x1fc03f1fu
#define DROP (1u << 28)

static uint32_t ring_registers(bool transmit, unsigned queue)
{
    if (transmit)
        return 0x6000 + 0x40 * queue;
    return queue < 64 ? 0x1000 + 0x40 * queue : 0xd000 + 0x40 * (queue - 64);
}

static bool start_receive(struct ixgbe *e, struct ring *ring, uint32_t at, unsigned queue)
{
    uint32_t split;

    ix_look_at_split(e, queue);
    split = reg(e, at + SPLIT);
    ring->kind = split >> 25 & 7;
    ring->buffer = (split & 31) * 1024;
    ring->drop = split & DROP;
    if (ring->kind != 0 && ring->kind != 1 && ring->kind != 2 && ring->kind != 5) {
        ixgbe_error(e, IXGBE_DESCRIPTOR_TYPE, queue, split);
        return false;
    }
    if (ring->buffer == 0 || ring->buffer > 16384) {
        ixgbe_error(e, IXGBE_BUFFER_SIZE, queue, split);
        return false;
    }
    if ((reg(e, HLREG0) ^ reg(e, RDRXCTL)) & 2)
        ixgbe_error(e, IXGBE_CRC_STRIP, queue, reg(e, RDRXCTL));
    return true;
}

/* Takes a ring's registers as they are now.  False: it cannot be started. */
static bool start(struct ixgbe *e, bool transmit, unsigned queue, uint32_t control)
{
    uint32_t at = ring_registers(transmit, queue), length = reg(e, at + 8), low = reg(e, at);
    struct ring *ring = &(transmit ? e->tx : e->rx)[queue];

    memset(ring, 0, sizeof *ring);
    ring->base = low | (uint64_t)reg(e, at + 4) << 32;
    ring->count = length / 16;
    ring->head_at = at + 0x10;
    ring->tail_at = at + 0x18;
    ring->head = ring->written = ring->tail = reg(e, ring->head_at);
    ring->lost = UINT32_MAX;
    if (transmit && !(reg(e, DMATXCTL) & 1)) {
        ixgbe_error(e, IXGBE_ENABLE_ORDER, queue, 0);
        return false;
    }
    if (length == 0 || length % 128 || length > 0xfff80 || low % 128) {
        ixgbe_error(e, IXGBE_RING_SIZE, queue, length);
        return false;
    }
    if (ring->head >= ring->count) {
        ixgbe_error(e, IXGBE_TAIL_BEYOND, queue, ring->head);
        return false;
    }
    if (transmit) {
        ring->threshold = control >> 16 & 127;
        ring->head_write_back = reg(e, at + 0x38) | (uint64_t)reg(e, at + 0x3c) << 32;
    } else if (!start_receive(e, ring, at, queue)) {
        return false;
    }
    ring->enabled = true;
    (transmit ? e->tx_on : e->rx_on)[queue / 64] |= 1UL << queue % 64;
    return true;
}

/* Whether it is a register that ixgbe_ring_write knows. */
bool ix_of_a_ring(uint32_t offset)
{
    bool receive = (offset & ~0xfffu) == 0x1000 || (offset & ~0xfffu) == 0xd000, transmit = (offset & ~0x1fffu) == 0x6000;
    uint32_t in_ring = offset & 0x3f;

    return ((receive || transmit) && (in_ring <= 8 || in_ring == 0x10 || in_ring == 0x28)) ||
           (receive && in_ring == SPLIT) || ix_other_split(offset);
}

/* The first 16 receive queues have SRRCTL at two places: the other one's offset; 0: it is none of these. */
uint32_t ix_other_split(uint32_t offset)
{
    if (offset >= 0x2100 && offset < 0x2140)
        return 0x1000 + SPLIT + (offset - 0x2100) / 4 * 0x40;
    if (offset >= 0x1000 && offset < 0x1400 && (offset & 0x3f) == SPLIT)
        return 0x2100 + (offset - 0x1000) / 0x40 * 4;
    return 0;
}

/* Sizes and the kind of descriptors are those that the queue was enabled with; whether it drops may change. */
static uint32_t write_split(struct ixgbe *e, unsigned queue, uint32_t before, uint32_t value)
{
    struct ring *ring = &e->rx[queue];

    value &= SPLIT_BITS;
    if (ring->enabled && (value ^ before) & ~DROP)
        ixgbe_error(e, IXGBE_RING_CHANGED, queue, value);
    if (ring->enabled)
        ring->drop = value & DROP;
    return value;
}

static uint32_t write_control(struct ixgbe *e, bool transmit, unsigned queue, uint32_t value)
{
    struct ring *ring = &(transmit ? e->tx : e->rx)[queue];
    uint32_t now = value & (transmit ? TRANSMIT_CONTROL : RECEIVE_CONTROL);

    if (now & QUEUE_ENABLE && !ring->enabled) {
        if (!start(e, transmit, queue, now))
            now &= ~QUEUE_ENABLE;
    } else if (!(now & QUEUE_ENABLE) && ring->enabled) {
        ix_stop_queue(e, transmit, queue);
        ring->enabled = false;
    }
    return now;
}

uint32_t ixgbe_ring_write(struct ixgbe *e, uint32_t offset, uint32_t before, uint32_t value)
{
    bool transmit = offset >= 0x6000 && offset < 0x8000;
    unsigned queue = transmit ? (offset - 0x6000) / 0x40 : offset >= 0xd000 ? 64 + (offset - 0xd000) / 0x40
                                                                            : (offset - 0x1000) / 0x40;
    struct ring *ring = &(transmit ? e->tx : e->rx)[queue % IXGBE_QUEUES];
    uint32_t writable[3] = {0xffffff80, 0xffffffff, 0xfff80}, bits, head;

    if (offset >= 0x2100 && offset < 0x2140)
        return write_split(e, (offset - 0x2100) / 4, before, value);
    switch (offset & 0x3f) {
    case 0x28:
        return write_control(e, transmit, queue, value);
    case SPLIT:
        return write_split(e, queue, before, value);
    case 0x10:
        head = transmit ? ring->written : ring->head;
        if (!ring->enabled)
            return value & 0xffff;
        if (value != head) /* drivers write 0 once more after enabling */
            ixgbe_error(e, IXGBE_HEAD_WRITTEN, queue, value);
        return head;
    default:
        bits = writable[(offset & 0x3f) / 4];
        if (value & ~bits)
            ixgbe_error(e, IXGBE_RING_SIZE, queue, value);
        if (ring->enabled && (value & bits) != before) {
            ixgbe_error(e, IXGBE_RING_CHANGED, queue, value);
            return before;
        }
        return value & bits;
    }
}
