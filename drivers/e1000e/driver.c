/* The driver of driver.h.  Numbers in parentheses are sections of the Intel 82574 datasheet, revision 3.4. */
#include "driver.h"

#include <string.h>

enum registers { /* (10.1) */
    CTRL = 0x0000, STATUS = 0x0008, CTRL_EXT = 0x0018, ICR = 0x00c0, IMS = 0x00d0, IMC = 0x00d8, EIAC = 0x00dc,
    IVAR = 0x00e4, RCTL = 0x0100, TCTL = 0x0400, TIPG = 0x0410, RDBAL = 0x2800, TDBAL = 0x3800, MTA = 0x5200,
    RAL = 0x5400, RAH = 0x5404,
};
enum ring { HIGH = 4, LENGTH = 8, HEAD = 0x10, TAIL = 0x18 }; /* from RDBAL, TDBAL */

#define CTRL_SLU (1U << 6)
#define CTRL_RST (1U << 26)
#define STATUS_LU (1U << 1)
#define RCTL_EN (1U << 1)
#define RCTL_UPE (1U << 3)   /* all unicast, */
#define RCTL_MPE (1U << 4)   /* multicast */
#define RCTL_BAM (1U << 15)  /* and broadcast frames */
#define RCTL_SECRC (1U << 26) /* without their checksum */
#define TCTL_EN (1U << 1)
#define TCTL_PSP (1U << 3)
#define TX_EOP (1U << 24)
#define TX_IFCS (1U << 25)
#define TX_RS (1U << 27)
#define DONE 1U
#define RX_EOP 2U
#define RX_ERRORS 0xff00U
#define CAUSE_RXQ0 (1U << 20)
#define CAUSE_TXQ0 (1U << 22)
#define CAUSE_OTHER (1U << 24)
#define CAUSE_LSC (1U << 2)
#define INTERESTING (CAUSE_RXQ0 | CAUSE_TXQ0 | CAUSE_OTHER | CAUSE_LSC)

static uint32_t get(const struct e1000e *nic, uint32_t offset) { return register_read(nic->registers, offset); }
static void set(const struct e1000e *nic, uint32_t offset, uint32_t value)
{
    register_write(nic->registers, offset, value);
}

/* Waits until bits of a register are as wanted; false after `ms` milliseconds. */
static bool await(const struct e1000e *nic, uint32_t offset, uint32_t bits, uint32_t wanted, uint64_t ms)
{
    uint64_t end = device_ticks() + ms * 1000 * nic->device->per_us;

    while ((get(nic, offset) & bits) != wanted) {
        if (device_ticks() > end)
            return false;
        device_pause();
    }
    return true;
}

static void pause_ms(const struct e1000e *nic, uint64_t ms)
{
    uint64_t end = device_ticks() + ms * 1000 * nic->device->per_us;

    while (device_ticks() < end)
        device_pause();
}

/* A ring and its buffers: in one piece, the ring in the first page. */
static int make_queue(struct e1000e *nic, struct e1000e_queue *queue, uint32_t base, bool fill)
{
    int result = device_memory_make(nic->device, DEVICE_PAGE + E1000E_ENTRIES * E1000E_FRAME, &queue->memory);

    if (result)
        return result;
    queue->ring = queue->memory.at;
    queue->buffers = (uint8_t *)queue->memory.at + DEVICE_PAGE;
    queue->next = 0;
    for (unsigned i = 0; fill && i < E1000E_ENTRIES; i++)
        queue->ring[i].address = queue->memory.iova + DEVICE_PAGE + i * E1000E_FRAME;
    set(nic, base, (uint32_t)queue->memory.iova);
    set(nic, base + HIGH, (uint32_t)(queue->memory.iova >> 32));
    set(nic, base + LENGTH, E1000E_ENTRIES * sizeof(struct e1000e_descriptor));
    set(nic, base + HEAD, 0);
    set(nic, base + TAIL, 0);
    return 0;
}

static int reset(struct e1000e *nic)
{
    set(nic, IMC, ~0U);
    set(nic, CTRL, get(nic, CTRL) | CTRL_RST);
    pause_ms(nic, 1); /* it does not answer at once (4.6.2) */
    if (get(nic, STATUS) == ~0U)
        return -DEVICE_ENODEV;
    if (!await(nic, CTRL, CTRL_RST, 0, 1000))
        return -DEVICE_ETIMEDOUT;
    set(nic, IMC, ~0U);
    get(nic, ICR);
    return 0;
}

/* Vector 0 for what has come, 1 for what has gone, 2 for the rest (10.2.4.9); causes clear themselves. */
static void enable_interrupts(struct e1000e *nic)
{
    set(nic, IVAR, 1U << 31 | (8U | 2) << 16 | (8U | 1) << 8 | (8U | 0));
    set(nic, EIAC, CAUSE_RXQ0 | CAUSE_TXQ0);
    set(nic, IMS, INTERESTING);
}

int e1000e_open(struct e1000e *nic, struct device *device, bool interrupts)
{
    uint32_t low, high;
    int result;

    *nic = (struct e1000e){.device = device, .registers = device_registers(device, 0, 0, 0x20000)};
    if (!nic->registers || device->vendor != 0x8086)
        return -DEVICE_ENODEV;
    result = reset(nic);
    if (result)
        return result;
    low = get(nic, RAL);
    high = get(nic, RAH);
    for (unsigned i = 0; i < 6; i++)
        nic->mac[i] = (uint8_t)(i < 4 ? low >> 8 * i : high >> 8 * (i - 4));
    for (unsigned i = 0; i < 128; i++)
        set(nic, MTA + 4 * i, 0);
    result = make_queue(nic, &nic->receive, RDBAL, true);
    if (result)
        return result;
    result = make_queue(nic, &nic->transmit, TDBAL, false);
    if (result) {
        device_memory_end(device, &nic->receive.memory);
        return result;
    }
    if (interrupts && device->vectors >= 3) {
        nic->interrupts = true;
        enable_interrupts(nic);
    }
    set(nic, CTRL, get(nic, CTRL) | CTRL_SLU);
    set(nic, TIPG, 8 | 8 << 10 | 6 << 20);
    set(nic, TCTL, TCTL_EN | TCTL_PSP | 15 << 4 | 63 << 12);
    set(nic, RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC);
    set(nic, RDBAL + TAIL, E1000E_ENTRIES - 1); /* when it is enabled (4.6.5); one stays ours, or full were empty */
    return 0;
}

void e1000e_close(struct e1000e *nic)
{
    set(nic, RCTL, 0);
    set(nic, TCTL, 0);
    reset(nic);
    device_memory_end(nic->device, &nic->receive.memory);
    device_memory_end(nic->device, &nic->transmit.memory);
}

bool e1000e_link(const struct e1000e *nic)
{
    uint32_t status = get(nic, STATUS);

    return status != ~0U && status & STATUS_LU;
}

/* Descriptors whose frames have gone are free again. */
static void clean(struct e1000e *nic)
{
    struct e1000e_queue *queue = &nic->transmit;

    while (nic->done != queue->next && memory_read_first(&queue->ring[nic->done].status) & DONE)
        nic->done = (nic->done + 1) % E1000E_ENTRIES;
}

bool e1000e_sent(struct e1000e *nic)
{
    clean(nic);
    return nic->done == nic->transmit.next;
}

int e1000e_send(struct e1000e *nic, const void *frame, uint64_t length)
{
    struct e1000e_queue *queue = &nic->transmit;
    unsigned after = (queue->next + 1) % E1000E_ENTRIES;
    uint8_t *buffer = queue->buffers + queue->next * E1000E_FRAME;
    volatile struct e1000e_descriptor *entry = &queue->ring[queue->next];

    if (length < 14 || length > E1000E_FRAME)
        return -DEVICE_EINVAL;
    clean(nic);
    if (after == nic->done)
        return -DEVICE_EAGAIN;
    memcpy(buffer, frame, length);
    if (length < 60) {
        memset(buffer + length, 0, 60 - length);
        length = 60;
    }
    entry->address = queue->memory.iova + DEVICE_PAGE + queue->next * E1000E_FRAME;
    entry->status = 0;
    entry->command = (uint32_t)length | TX_EOP | TX_IFCS | TX_RS;
    queue->next = after;
    set(nic, TDBAL + TAIL, after);
    return 0;
}

uint64_t e1000e_receive(struct e1000e *nic, void *frame, uint64_t size)
{
    struct e1000e_queue *queue = &nic->receive;

    for (;;) {
        volatile struct e1000e_descriptor *entry = &queue->ring[queue->next];
        uint32_t status = memory_read_first(&entry->status);
        uint64_t length = entry->command & 0xffff;
        bool whole = (status & RX_EOP) && !(status & RX_ERRORS) && length <= E1000E_FRAME;

        if (!(status & DONE))
            return 0;
        if (whole)
            memcpy(frame, queue->buffers + queue->next * E1000E_FRAME, length < size ? length : size);
        else
            nic->dropped++;
        entry->status = 0;
        set(nic, RDBAL + TAIL, queue->next); /* the card may have it again, up to here */
        queue->next = (queue->next + 1) % E1000E_ENTRIES;
        if (whole)
            return length;
    }
}

void e1000e_wait(struct e1000e *nic, uint64_t timeout)
{
    int64_t come;

    if (!nic->interrupts)
        return;
    come = device_wait(nic->device, timeout);
    if (come > 0)
        nic->woken += (uint64_t)come;
    get(nic, ICR); /* what does not clear itself: the link's */
    set(nic, IMS, INTERESTING); /* each is masked as it comes */
}
