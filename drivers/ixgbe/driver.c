/* Bringing an 82599 up and down, link, statistics, interrupts (datasheet section 4.6.3 and those named below). */
#include "driver.h"

#include "registers.h"

#define STRIDE 2112   /* from buffer to buffer: 33 cache lines, so that their beginnings do not share one set of a cache */
#define HEADROOM 64   /* before the data of a packet, for whoever puts another header before it */
#define SPARE 512     /* buffers for the program, beyond what rings hold */
#define VECTOR_LINK 15
#define LONGEST_REPORT 100000 /* us that a device may take to report what it has sent */

static uint32_t get(struct nic *nic, uint64_t offset)
{
    return register_read(nic->registers, offset);
}

static void set(struct nic *nic, uint64_t offset, uint32_t value)
{
    register_write(nic->registers, offset, value);
}

static void pause_for(struct nic *nic, uint64_t microseconds)
{
    uint64_t end = device_ticks() + microseconds * nic->device.per_us;

    while (device_ticks() < end)
        device_pause();
}

/* Waits until the bits of a register are as `wanted`. */
static int await(struct nic *nic, uint64_t offset, uint32_t bits, uint32_t wanted, uint64_t milliseconds)
{
    uint64_t end = device_ticks() + milliseconds * 1000 * nic->device.per_us;

    for (;;) {
        uint32_t value = get(nic, offset);

        if (value == UINT32_MAX)
            return -DEVICE_ENODEV;
        if ((value & bits) == wanted)
            return 0;
        if (device_ticks() > end)
            return -DEVICE_ETIMEDOUT;
        device_pause();
    }
}

static void mask_interrupts(struct nic *nic)
{
    set(nic, EIMC, 0x7fffffff);
    get(nic, EICR); /* clears what was pending */
}

/* Section 4.2.1.6, and 5.2.5.3.2 for what comes first: no DMA may be under way. */
static int reset(struct nic *nic)
{
    int result;

    mask_interrupts(nic);
    set(nic, CTRL, get(nic, CTRL) | CTRL_MASTER_DISABLE);
    if (await(nic, STATUS, STATUS_MASTER_ENABLED, 0, 80) == -DEVICE_ENODEV)
        return -DEVICE_ENODEV;
    set(nic, CTRL, CTRL_RESET | CTRL_LINK_RESET);
    result = await(nic, CTRL, CTRL_RESET | CTRL_LINK_RESET, 0, 100);
    if (result)
        return result;
    pause_for(nic, 10000); /* 4.6.3.2 */
    mask_interrupts(nic);
    result = await(nic, EEC, EEC_AUTO_READ_DONE, EEC_AUTO_READ_DONE, 1000);
    if (!result)
        result = await(nic, RDRXCTL, RDRXCTL_DMA_INIT_DONE, RDRXCTL_DMA_INIT_DONE, 1000);
    return result;
}

static void read_address(struct nic *nic)
{
    uint32_t low = get(nic, RAL(0)), high = get(nic, RAH(0));

    for (int i = 0; i < 6; i++)
        nic->mac[i] = (uint8_t)(i < 4 ? low >> 8 * i : high >> 8 * (i - 4));
}

/* Section 4.6.4.2: 10 Gb/s serial. */
static void start_link(struct nic *nic)
{
    uint32_t mode = get(nic, AUTOC) & ~(AUTOC_MODE_MASK | AUTOC_PMA_10G_MASK);

    set(nic, AUTOC, mode | AUTOC_SERIAL_10G);
    set(nic, AUTOC, mode | AUTOC_SERIAL_10G | AUTOC_RESTART);
}

/* --- Memory --- */

static int make_pool(struct nic *nic)
{
    unsigned count = nic->options.buffers, rings = nic->options.receive_queues + nic->options.transmit_queues;
    uint64_t tables;
    uint16_t *table;
    int result;

    result = device_memory_make(&nic->device, (uint64_t)count * STRIDE, &nic->pool_memory);
    if (result)
        return result;
    tables = ((uint64_t)count + rings * nic->options.descriptors) * sizeof(uint16_t);
    result = device_memory_make(&nic->device, tables, &nic->tables);
    if (result)
        return result;
    nic->pool = nic->pool_memory.at;
    nic->pool_iova = nic->pool_memory.iova;
    nic->free = nic->tables.at;
    for (unsigned i = 0; i < count; i++)
        nic->free[nic->free_count++] = (uint16_t)(count - 1 - i);
    table = nic->free + count;
    for (unsigned i = 0; i < nic->options.receive_queues; i++, table += nic->options.descriptors)
        nic->receive[i].buffers = table;
    for (unsigned i = 0; i < nic->options.transmit_queues; i++, table += nic->options.descriptors)
        nic->transmit[i].buffers = table;
    return 0;
}

static inline uint64_t address_of(const struct nic *nic, uint16_t buffer)
{
    return nic->pool_iova + (uint64_t)buffer * STRIDE + HEADROOM;
}

static inline uint8_t *data_of(const struct nic *nic, uint16_t buffer)
{
    return nic->pool + (uint64_t)buffer * STRIDE + HEADROOM;
}

static void place_ring(struct nic *nic, uint32_t at, const struct device_memory *memory)
{
    set(nic, at + BASE_LOW, (uint32_t)memory->iova);
    set(nic, at + BASE_HIGH, (uint32_t)(memory->iova >> 32));
    set(nic, at + LENGTH, nic->options.descriptors * 16);
    set(nic, at + HEAD, 0);
    set(nic, at + TAIL, 0);
}

/* --- Receiving (4.6.7) --- */

static int start_receive_queue(struct nic *nic, unsigned number)
{
    struct nic_receive_queue *queue = &nic->receive[number];
    uint32_t at = RX_QUEUE(number), count = nic->options.descriptors;
    int result = device_memory_make(&nic->device, count * 16UL, &queue->memory);

    if (result)
        return result;
    queue->ring = queue->memory.at;
    queue->mask = count - 1;
    queue->index = 0;
    queue->tail = (volatile char *)nic->registers + at + TAIL;
    for (uint32_t i = 0; i < count; i++) {
        queue->buffers[i] = nic->free[--nic->free_count];
        queue->ring[i] = (struct nic_descriptor){address_of(nic, queue->buffers[i]), 0};
    }
    place_ring(nic, at, &queue->memory);
    /* Where several queues share the packet buffer, one without descriptors must not hold up the others. */
    set(nic, at + SRRCTL, SRRCTL_ONE_BUFFER | (nic->options.receive_queues > 1 ? SRRCTL_DROP : 0) | 2);
    set(nic, at + DCA, get(nic, at + DCA) & ~(1u << 12));
    set(nic, at + CONTROL, QUEUE_ENABLE | (nic->options.strip_tags ? STRIP_TAG : 0));
    result = await(nic, at + CONTROL, QUEUE_ENABLE, QUEUE_ENABLE, 100);
    if (result)
        return result;
    set(nic, at + HEAD, 0);
    set(nic, at + TAIL, count - 1);
    return 0;
}

/* Section 7.1.2.8: a hash of addresses and ports chooses one of 128 entries, each of which names a queue. */
static void distribute(struct nic *nic)
{
    static const uint8_t key[40] = {
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
        0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
        0xbe, 0xac, 0x01, 0xfa};
    unsigned queues = nic->options.receive_queues;

    for (unsigned i = 0; i < 10; i++)
        set(nic, RSSRK(i), (uint32_t)key[4 * i] | (uint32_t)key[4 * i + 1] << 8 | (uint32_t)key[4 * i + 2] << 16 |
                               (uint32_t)key[4 * i + 3] << 24);
    for (unsigned i = 0; i < 128; i += 4)
        set(nic, RETA(i / 4), i % queues | (i + 1) % queues << 8 | (i + 2) % queues << 16 | (i + 3) % queues << 24);
    set(nic, RXCSUM, get(nic, RXCSUM) | 1u << 13);
    set(nic, MRQC, 1 | 1u << 16 | 1u << 17 | 1u << 20 | 1u << 21 | 1u << 22 | 1u << 23);
}

static int start_receiving(struct nic *nic)
{
    set(nic, RXCTRL, get(nic, RXCTRL) & ~1u);
    set(nic, RXPBSIZE(0), 128 << 10);
    for (unsigned i = 1; i < 8; i++)
        set(nic, RXPBSIZE(i), 0);
    set(nic, HLREG0, get(nic, HLREG0) | HLREG0_RX_CRC_STRIP);
    set(nic, RDRXCTL, get(nic, RDRXCTL) | RDRXCTL_CRC_STRIP);
    set(nic, FCTRL, FCTRL_BROADCAST | (nic->options.addressed ? 0 : FCTRL_MULTICAST_ALL | FCTRL_UNICAST_ALL));
    if (nic->options.receive_queues > 1)
        distribute(nic);
    for (unsigned i = 0; i < nic->options.receive_queues; i++) {
        int result = start_receive_queue(nic, i);

        if (result)
            return result;
    }
    set(nic, CTRL_EXT, get(nic, CTRL_EXT) | CTRL_EXT_NO_SNOOP_DISABLE);
    set(nic, RXCTRL, get(nic, RXCTRL) | 1);
    return 0;
}

/* --- Transmitting (4.6.8) --- */

static int start_transmit_queue(struct nic *nic, unsigned number)
{
    struct nic_transmit_queue *queue = &nic->transmit[number];
    uint32_t at = TX_QUEUE(number);
    int result = device_memory_make(&nic->device, nic->options.descriptors * 16UL, &queue->memory);

    if (result)
        return result;
    queue->ring = queue->memory.at;
    queue->mask = nic->options.descriptors - 1;
    queue->tail = (volatile char *)nic->registers + at + TAIL;
    place_ring(nic, at, &queue->memory);
    /* 7.2.3.4.1: PTHRESH 36, HTHRESH 8; WTHRESH 0, because not every descriptor asks for a report. */
    set(nic, at + CONTROL, QUEUE_ENABLE | 8u << 8 | 36);
    return await(nic, at + CONTROL, QUEUE_ENABLE, QUEUE_ENABLE, 100);
}

static int start_transmitting(struct nic *nic)
{
    set(nic, HLREG0, get(nic, HLREG0) | HLREG0_TX_CRC | HLREG0_TX_PAD);
    set(nic, TXPBSIZE(0), 160 << 10);
    for (unsigned i = 1; i < 8; i++)
        set(nic, TXPBSIZE(i), 0);
    set(nic, DTXMXSZRQ, 0xfff);
    set(nic, RTTDCS, get(nic, RTTDCS) & ~RTTDCS_ARBITER_OFF);
    set(nic, DMATXCTL, get(nic, DMATXCTL) | 1);
    for (unsigned i = 0; i < nic->options.transmit_queues; i++) {
        int result = start_transmit_queue(nic, i);

        if (result)
            return result;
    }
    return 0;
}

/* --- Interrupts (7.3) --- */

static void start_interrupts(struct nic *nic)
{
    uint32_t vectors = (1u << nic->options.receive_queues) - 1;

    set(nic, GPIE, GPIE_MSIX | GPIE_AUTO_MASK);
    for (unsigned i = 0; i < nic->options.receive_queues; i++) {
        uint32_t shift = i % 2 * 16, entry = get(nic, IVAR(i / 2)) & ~(0xffu << shift);

        set(nic, IVAR(i / 2), entry | (IVAR_VALID | i) << shift);
        set(nic, EITR(i), 10u << 3); /* 20 us at least from one to the next */
    }
    set(nic, IVAR_MISC, (IVAR_VALID | VECTOR_LINK) << 8);
    set(nic, EIAC, vectors | 1u << VECTOR_LINK);
    set(nic, EIAM, vectors | 1u << VECTOR_LINK);
}

int64_t nic_wait(struct nic *nic, uint64_t nanoseconds)
{
    uint32_t vectors = (1u << nic->options.receive_queues) - 1;
    int64_t told;

    if (!nic->options.interrupts)
        return -DEVICE_EINVAL;
    set(nic, EIMS, vectors | 1u << VECTOR_LINK | CAUSE_LINK);
    for (unsigned i = 0; i < nic->options.receive_queues; i++) {
        const struct nic_receive_queue *queue = &nic->receive[i];

        /* What came before interrupts were enabled has told nobody. */
        memory_fence();
        if (__atomic_load_n(&queue->ring[queue->index].second, __ATOMIC_ACQUIRE) & RX_DONE)
            return 0;
    }
    told = device_wait(&nic->device, nanoseconds);
    /* That the link changed stays in EICR until ones are written to it (8.2.3.5.1), and would be told of at each wait.
     * Now, before the caller looks at the link; and all of them, so that it is seen where registers are memory. */
    if (told > 0)
        set(nic, EICR, CAUSES_OTHER);
    return told;
}

/* --- The whole --- */

static int bring_up(struct nic *nic)
{
    int result = reset(nic);

    if (result)
        return result;
    set(nic, CTRL_EXT, get(nic, CTRL_EXT) | CTRL_EXT_DRIVER_LOADED);
    read_address(nic);
    start_link(nic);
    nic_read_statistics(nic, NULL); /* clears them */
    nic->statistics = (struct nic_statistics){0};
    result = make_pool(nic);
    if (!result)
        result = start_receiving(nic);
    if (!result)
        result = start_transmitting(nic);
    if (!result && nic->options.interrupts)
        start_interrupts(nic);
    return result;
}

static void give_back(struct nic *nic)
{
    for (unsigned i = 0; i < NIC_QUEUES; i++) {
        if (nic->receive[i].memory.size)
            device_memory_end(&nic->device, &nic->receive[i].memory);
        if (nic->transmit[i].memory.size)
            device_memory_end(&nic->device, &nic->transmit[i].memory);
    }
    if (nic->tables.size)
        device_memory_end(&nic->device, &nic->tables);
    if (nic->pool_memory.size)
        device_memory_end(&nic->device, &nic->pool_memory);
}

int nic_open(struct nic *nic, const struct device *device, const struct nic_options *options)
{
    int result;

    __builtin_memset(nic, 0, sizeof *nic);
    nic->device = *device;
    nic->options = *options;
    if (!nic->options.receive_queues)
        nic->options.receive_queues = 1;
    if (!nic->options.transmit_queues)
        nic->options.transmit_queues = 1;
    if (!nic->options.descriptors)
        nic->options.descriptors = 512;
    if (!nic->options.buffers)
        nic->options.buffers =
            (nic->options.receive_queues + nic->options.transmit_queues) * nic->options.descriptors + SPARE;
    options = &nic->options;
    if (options->receive_queues > NIC_QUEUES || options->transmit_queues > NIC_QUEUES || options->descriptors < 64 ||
        options->descriptors > 4096 || options->descriptors & (options->descriptors - 1) ||
        options->buffers > 65535 || options->buffers < options->receive_queues * options->descriptors)
        return -DEVICE_EINVAL;
    nic->registers = device_registers(&nic->device, 0, 0, 128 << 10);
    if (!nic->registers)
        return -DEVICE_ENXIO;
    result = bring_up(nic);
    if (result) {
        /* Memory goes only when the device uses it no more. */
        set(nic, CTRL, CTRL_RESET);
        pause_for(nic, 10000);
        give_back(nic);
    }
    return result;
}

void nic_close(struct nic *nic)
{
    for (unsigned i = 0; i < nic->options.receive_queues; i++)
        set(nic, RX_QUEUE(i) + CONTROL, 0);
    for (unsigned i = 0; i < nic->options.transmit_queues; i++)
        set(nic, TX_QUEUE(i) + CONTROL, 0);
    set(nic, CTRL_EXT, get(nic, CTRL_EXT) & ~CTRL_EXT_DRIVER_LOADED);
    reset(nic);
    give_back(nic);
    device_close(&nic->device);
}

unsigned nic_link(struct nic *nic)
{
    static const unsigned speeds[4] = {0, 100, 1000, 10000};
    uint32_t links = get(nic, LINKS);

    return links == UINT32_MAX || !(links & LINKS_UP) ? 0 : speeds[links >> 28 & 3];
}

bool nic_gone(struct nic *nic)
{
    return get(nic, STATUS) == UINT32_MAX;
}

int nic_wait_for_link(struct nic *nic, uint64_t milliseconds)
{
    return await(nic, LINKS, LINKS_UP, LINKS_UP, milliseconds);
}

/* They clear when read (8.2.3.23). */
int nic_read_statistics(struct nic *nic, struct nic_statistics *statistics)
{
    struct nic_statistics *all = &nic->statistics;

    if (nic_gone(nic))
        return -DEVICE_ENODEV;
    all->received += get(nic, GPRC);
    all->sent += get(nic, GPTC);
    all->received_bytes += get(nic, GORCL); /* the low word first */
    all->received_bytes += (uint64_t)get(nic, GORCH) << 32;
    all->sent_bytes += get(nic, GOTCL);
    all->sent_bytes += (uint64_t)get(nic, GOTCH) << 32;
    all->missed += get(nic, MPC(0));
    all->damaged += get(nic, CRCERRS);
    all->odd_sizes += get(nic, RUC) + get(nic, RFC) + get(nic, ROC) + get(nic, RJC);
    /* RQSMR is 0: all queues count in the first counter. */
    all->dropped += get(nic, QPRDC(0));
    if (statistics)
        *statistics = *all;
    return 0;
}

/* --- Packets --- */

uint8_t *nic_data(const struct nic *nic, uint16_t buffer)
{
    return data_of(nic, buffer);
}

bool nic_make(struct nic *nic, struct nic_packet *packet)
{
    uint16_t buffer;

    if (!nic->free_count)
        return false;
    buffer = nic->free[--nic->free_count];
    *packet = (struct nic_packet){.data = data_of(nic, buffer), .buffer = buffer};
    return true;
}

void nic_free(struct nic *nic, const struct nic_packet *packets, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        nic->free[nic->free_count++] = packets[i].buffer;
}

unsigned nic_receive(struct nic *nic, unsigned number, struct nic_packet *packets, unsigned most)
{
    struct nic_receive_queue *queue = &nic->receive[number];
    uint32_t index = queue->index, mask = queue->mask, first = index;
    unsigned got = 0;

    while (got < most && nic->free_count) {
        struct nic_descriptor *descriptor = &queue->ring[index];
        uint64_t second = __atomic_load_n(&descriptor->second, __ATOMIC_ACQUIRE);
        uint16_t buffer, length = (uint16_t)(second >> 32);

        if (!(second & RX_DONE))
            break;
        buffer = queue->buffers[index];
        /* A frame fits in one buffer, for the device takes no longer ones. */
        if (__builtin_expect((second & (RX_END | RX_ERROR)) == RX_END && length <= NIC_LONGEST, 1)) {
            packets[got++] = (struct nic_packet){data_of(nic, buffer), length,
                                                 (uint16_t)((second & 0xff) | (second >> 16 & 0xe000)),
                                                 (uint16_t)(second >> 48), buffer};
            buffer = nic->free[--nic->free_count];
            queue->buffers[index] = buffer;
        } else {
            nic->statistics.broken++;
        }
        descriptor->first = address_of(nic, buffer);
        __atomic_store_n(&descriptor->second, 0, __ATOMIC_RELAXED);
        index = (index + 1) & mask;
    }
    if (index != first) {
        queue->index = index;
        /* The device owns up to the tail, and not the tail itself: one descriptor stays ours. */
        register_write(queue->tail, 0, (index - 1) & mask);
    }
    return got;
}

static inline bool is_reported(const struct nic_transmit_queue *queue, uint32_t report)
{
    return __atomic_load_n(&queue->ring[queue->reports[report % 256] & queue->mask].second, __ATOMIC_ACQUIRE) & TX_DONE;
}

/* Takes back what was sent up to the first report that is outstanding, which has come, or has been overtaken. */
static inline void take_back(struct nic *nic, struct nic_transmit_queue *queue)
{
    uint32_t last = queue->reports[queue->reports_first++ % 256], clean = queue->clean;

    for (; clean != last + 1; clean++) {
        uint16_t buffer = queue->buffers[clean & queue->mask];

        if (buffer != UINT16_MAX) /* a context descriptor has none */
            nic->free[nic->free_count++] = buffer;
    }
    queue->clean = clean;
}

static inline void reclaim_in_order(struct nic *nic, struct nic_transmit_queue *queue)
{
    while (queue->reports_first != queue->reports_end && is_reported(queue, queue->reports_first))
        take_back(nic, queue);
}

/* A queue's descriptors are done in order: where a later report is there, an earlier one that is not was lost. */
void nic_reclaim(struct nic *nic, unsigned number)
{
    struct nic_transmit_queue *queue = &nic->transmit[number];

    for (uint32_t report = queue->reports_end; report-- != queue->reports_first;) {
        if (!is_reported(queue, report))
            continue;
        while (queue->reports_first != report + 1)
            take_back(nic, queue);
        return;
    }
}

bool nic_drained(struct nic *nic, unsigned number)
{
    const struct nic_transmit_queue *queue = &nic->transmit[number];

    return get(nic, TX_QUEUE(number) + HEAD) == (queue->index & queue->mask);
}

/* What a context descriptor has to say for a packet's offloads (7.2.3.2.3), as its first 64 bits' lower half and its
 * type; 0: the packet is none that they can be done for. */
static uint64_t context_of(const struct nic_packet *packet)
{
    const uint8_t *data = packet->data;
    uint64_t mac = 14, ip = 0, kind = 0;
    uint16_t type;

    if (packet->length < 34)
        return 0;
    type = (uint16_t)(data[12] << 8 | data[13]);
    if (type == 0x8100) {
        type = (uint16_t)(data[16] << 8 | data[17]);
        mac = 18;
    }
    if (type == 0x0800) {
        ip = (data[mac] & 15) * 4u;
        kind = CONTEXT_IPV4 | (data[mac + 9] == 6 ? CONTEXT_TCP : 0);
    } else if (type == 0x86dd) {
        ip = 40;
        kind = data[mac + 6] == 6 ? CONTEXT_TCP : 0;
    } else if (packet->flags & (NIC_SUM_IP | NIC_SUM_L4)) {
        return 0;
    }
    if (packet->flags & (NIC_SUM_IP | NIC_SUM_L4) && (ip < 20 || mac + ip > packet->length))
        return 0;
    return (packet->flags & NIC_PUT_TAG ? (uint64_t)packet->tag << 16 : 0) | mac << 9 | ip | kind << 32 |
           (TX_CONTEXT | TX_ADVANCED) << 32;
}

/* The device adds up everything from the header of TCP or UDP on: its field begins with the sum of the pseudo header. */
static void put_pseudo_sum(const struct nic_packet *packet, uint64_t context)
{
    unsigned mac = context >> 9 & 127, ip = context & 511, v4 = context >> 32 & CONTEXT_IPV4 ? 1 : 0;
    bool tcp = context >> 32 & CONTEXT_TCP;
    const uint8_t *at = packet->data + mac + (v4 ? 12 : 8);
    uint8_t *field = packet->data + mac + ip + (tcp ? 16 : 6);
    uint32_t sum;

    if (mac + ip + (tcp ? 20u : 8u) > packet->length)
        return;
    /* What follows the headers by the length that IP tells, for a short frame is padded. */
    sum = v4 ? (uint32_t)(packet->data[mac + 2] << 8 | packet->data[mac + 3]) - ip
             : (uint32_t)(packet->data[mac + 4] << 8 | packet->data[mac + 5]);
    sum += tcp ? 6 : 17;
    for (unsigned i = 0; i < (v4 ? 8u : 32u); i += 2)
        sum += (uint32_t)(at[i] << 8 | at[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum += sum >> 16;
    field[0] = (uint8_t)(sum >> 8);
    field[1] = (uint8_t)sum;
}

/* The ring is full, perhaps for reports that were lost.  Where none comes for so long, and the device has fetched all
 * there is, it is done with what it has fetched. */
static void make_room(struct nic *nic, unsigned number)
{
    struct nic_transmit_queue *queue = &nic->transmit[number];
    uint64_t now = device_ticks();

    nic_reclaim(nic, number);
    if (!queue->full_since || queue->full_at != queue->clean) {
        queue->full_since = now;
        queue->full_at = queue->clean;
    } else if (now - queue->full_since > LONGEST_REPORT * nic->device.per_us && nic_drained(nic, number)) {
        while (queue->reports_first != queue->reports_end)
            take_back(nic, queue);
    }
}

unsigned nic_send(struct nic *nic, unsigned number, const struct nic_packet *packets, unsigned count)
{
    struct nic_transmit_queue *queue = &nic->transmit[number];
    uint32_t index = queue->index, mask = queue->mask;
    uint64_t iova = nic->pool_iova - (uint64_t)(uintptr_t)nic->pool;
    unsigned sent = 0;

    if (queue->reports_end != queue->reports_first) {
        reclaim_in_order(nic, queue);
        if (__builtin_expect(index - queue->clean >= mask - 1, 0))
            make_room(nic, number);
    }
    for (; sent < count; sent++) {
        const struct nic_packet *packet = &packets[sent];
        uint64_t bits = TX_END | TX_FCS | TX_ADVANCED | TX_DATA;

        /* One descriptor is never used, so that a full ring does not look empty; a context may need another. */
        if (index - queue->clean >= mask - 1)
            break;
        if (__builtin_expect(packet->flags & (NIC_SUM_IP | NIC_SUM_L4 | NIC_PUT_TAG), 0)) {
            uint64_t context = context_of(packet);

            if (context && context != queue->context) {
                queue->ring[index & mask] = (struct nic_descriptor){(uint32_t)context, context >> 32};
                queue->buffers[index & mask] = UINT16_MAX;
                queue->context = context;
                index++;
                queue->unreported++;
            }
            if (context && packet->flags & NIC_SUM_L4)
                put_pseudo_sum(packet, context);
            if (context)
                bits |= (packet->flags & NIC_SUM_IP ? TX_SUM_IP : 0) | (packet->flags & NIC_SUM_L4 ? TX_SUM_L4 : 0) |
                        (packet->flags & NIC_PUT_TAG ? TX_TAG : 0);
        }
        if (++queue->unreported >= 32) {
            queue->unreported = 0;
            queue->reports[queue->reports_end++ % 256] = index;
            bits |= TX_REPORT;
        }
        queue->buffers[index & mask] = packet->buffer;
        queue->ring[index & mask] = (struct nic_descriptor){(uint64_t)(uintptr_t)packet->data + iova,
                                                            bits | packet->length | (uint64_t)packet->length << 46};
        index++;
    }
    if (sent) {
        queue->index = index;
        register_write(queue->tail, 0, index & mask);
    }
    return sent;
}
