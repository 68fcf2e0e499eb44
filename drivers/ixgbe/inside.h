/* What the parts of the engine share: the registers they read, and its state. */
#ifndef IXGBE_INSIDE_H
#define IXGBE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "engine.h"

/* Registers that the data path reads or writes (datasheet section 8.2.3). */
enum {
    CTRL = 0x0, STATUS = 0x8, I2CCTL = 0x28, EEC = 0x10010,
    EICR = 0x800, EIAC = 0x810, EITR = 0x820, EIMS = 0x880, EIMC = 0x888, EIAM = 0x890, GPIE = 0x898,
    IVAR = 0x900, IVAR_MISC = 0xa00, EIMS_EX = 0xaa0, EIMC_EX = 0xab0, EIAM_EX = 0xad0, EITR_MORE = 0x12300,
    RDRXCTL = 0x2f00, RXCTRL = 0x3000, RXPBSIZE = 0x3c00, RQSMR = 0x2300,
    RXCSUM = 0x5000, MTA = 0x5200, FCTRL = 0x5080, VLNCTRL = 0x5088, MCSTCTRL = 0x5090, MRQC = 0x5818, RETA = 0x5c00,
    RSSRK = 0x5c80, RAL = 0xa200, VFTA = 0xa000,
    HLREG0 = 0x4240, MAXFRS = 0x4268, LINKS = 0x42a4,
    RTTDCS = 0x4900, DMATXCTL = 0x4a80, TQSM = 0x8600,
    /* counters */
    MPC = 0x3fa0, RNBC = 0x3fc0, CRCERRS = 0x4000, PRC64 = 0x405c, GPRC = 0x4074, BPRC = 0x4078, MPRC = 0x407c,
    GPTC = 0x4080, GORC = 0x4088, GOTC = 0x4090, RUC = 0x40a4, ROC = 0x40ac, TOR = 0x40c0, TPR = 0x40d0, TPT = 0x40d4,
    PTC64 = 0x40d8, MPTC = 0x40f0, BPTC = 0x40f4, QPRC = 0x1030, QBRC = 0x1034, QPRDC = 0x1430, QPTC = 0x6030,
    QBTC = 0x8700,
};

#define CTRL_GIO_DISABLE (1u << 2)
#define CTRL_LINK_RESET (1u << 3)
#define CTRL_RESET (1u << 26)
#define STATUS_LINK (1u << 7)
#define STATUS_GIO_ENABLED (1u << 19)
#define GPIE_MSIX (1u << 4)
#define GPIE_AUTO_MASK (1u << 30)
#define EICR_MISSED (1u << 17)
#define EICR_PCI (1u << 18)
#define EICR_LINK (1u << 20)
#define EICR_DHER (1u << 29)
#define LINKS_UP_10G 0x70000080u /* up, 10 Gb/s; link status 7 */

#define QUEUE_ENABLE (1u << 25)
#define MOST_PIECES 40 /* descriptors of one packet */
#define LONGEST_TSO 262144
#define PIPE (1u << 20)
#define CHANGES 4096
#define REPORTS 64

struct facts {
    uint32_t status; /* of an advanced write-back: status 19:0, errors 31:20 */
    uint16_t type;   /* packet type, 13 bits */
    uint8_t hashed;  /* RSS type that applies if its field is enabled, 0: none */
    uint8_t l4;      /* offset of the layer 4 header, 0: none */
    uint8_t cast;    /* 0 unicast, 1 multicast, 2 broadcast */
    bool tagged;
    bool fragment;
    uint16_t tag, ip_id, payload_sum;
};

struct frame {
    const uint8_t *data;
    uint32_t length; /* without FCS */
    bool damaged;
    struct facts facts;
};

/* Frames in order, one producer and one consumer: 32 bits of length, then the frame, in multiples of 8 bytes. */
struct pipe {
    _Atomic uint64_t head __attribute__((aligned(64))); /* consumer */
    _Atomic uint64_t tail __attribute__((aligned(64))); /* producer */
    uint8_t *bytes;
};

struct context {
    uint32_t low, high[2]; /* dwords 0, 2, 3 */
    bool valid;
};

struct ring {
    bool enabled, stopped;
    uint64_t base;
    uint32_t count, head, tail_at, head_at; /* tail_at, head_at: offsets of RDT/TDT and RDH/TDH */
    uint64_t not_before;                    /* a late write-back: nanoseconds of the monotonic clock; 0: none */
    /* transmit */
    struct context context[2];
    uint32_t written; /* the descriptor up to which done ones have been written back */
    uint64_t head_write_back;
    uint32_t threshold, lost; /* lost: the descriptor that a fault keeps the driver from hearing of */
    /* receive */
    uint32_t buffer, kind; /* bytes, SRRCTL.DESCTYPE */
    uint32_t tail;         /* as it was when it was last looked at */
    uint32_t packets;      /* received since counters were written */
    uint64_t octets;
    bool drop;
};

/* Counters of a burst, added to the registers at its end. */
struct tally {
    uint32_t packets, broadcast, multicast, size[6];
    uint64_t octets;
};

/* The EEPROM on its serial bus: 16 bits of address, which count bytes. */
struct spi {
    uint16_t *words;
    uint32_t bytes, address, shift;
    unsigned bits; /* since it was selected */
    uint8_t operation;
    bool writable, out;
};

/* The bus of the SFP+ cage, and what is in it. */
struct i2c {
    const uint8_t *page; /* 256 bytes that the module says of itself; NULL: there is none */
    uint8_t state, next, shift, at;
    unsigned count;         /* bits of a byte, its acknowledgement with them */
    bool clock, data, line; /* as the controller has them; line: as the module has the data line */
};

struct ixgbe {
    uint8_t *registers;
    struct dma_user *dma;
    struct faults *faults;
    bool faulty; /* any fault may be drawn */
    bool steered; /* a filter chooses queues */
    bool removed, looked; /* looked: at the registers, since the last poll began */
    int removal; /* an eventfd, or -1 */
    pthread_mutex_t lock;
    atomic_int wanted;
    struct ring rx[IXGBE_QUEUES], tx[IXGBE_QUEUES];
    uint64_t rx_on[2], tx_on[2]; /* enabled queues, a bit each */
    uint64_t rx_dirty[2];        /* queues whose head and counters are to be written */
    struct tally received, transmitted;
    uint32_t all_packets;        /* that the wire brought, wanted or not */
    uint64_t all_octets;
    uint64_t sunk;
    unsigned segments; /* that the last packet became */
    uint32_t sum; /* of what was sent, so that a sink reads it */
    struct spi spi;
    struct i2c i2c;
    uint8_t *defaults;   /* registers after a reset */
    int64_t link_after;
    /* link */
    bool link;
    int64_t link_at; /* 0: nothing to come */
    /* interrupts */
    int eventfds[IXGBE_VECTORS];
    uint32_t *event_counts;
    bool has_events;
    uint64_t pending;    /* vectors */
    uint64_t vectors;    /* that are not masked: EIMS_EX, whatever a driver has written there and nobody seen */
    uint32_t unmasked;   /* EIMS, likewise */
    uint32_t causes;     /* EICR, likewise */
    bool fresh;          /* without MSI-X: a cause came since the last event */
    uint64_t fired[IXGBE_VECTORS];
    /* errors */
    uint64_t errors[IXGBE_ERRORS];
    struct ixgbe_report reports[REPORTS];
    uint64_t reported;
    /* frames that wait */
    uint8_t *buffer;     /* the packet buffer, RXPBSIZE(0) of it */
    uint32_t buffered, buffer_first, buffer_end;
    struct pipe injected, wired, captured;
    bool capture;
    struct ixgbe *peer;
    int fd, pcap;
    struct frame *feed;
    uint8_t *feed_bytes;
    unsigned feed_count, feed_next;
    uint64_t feed_left; /* frames */
    bool feed_forever;
    enum ixgbe_source feed_how;
    uint8_t *staging;    /* a packet gathered from its descriptors */
    uint8_t *segment;    /* a frame made of it */
    uint8_t *incoming;
    /* thread */
    pthread_t thread;
    bool running;
    atomic_bool stop;
    uint64_t idle_ns;
    /* watching */
    uint32_t watched;
    unsigned watch_next;
    uint8_t *own;
    uint32_t *seen;
    uint32_t changes[CHANGES][3];
    uint32_t changes_head, changes_tail; /* with change_lock */
    pthread_mutex_t change_lock;
    pthread_cond_t change_came;
};

static inline uint32_t reg(const struct ixgbe *e, uint32_t offset)
{
    return __atomic_load_n((const uint32_t *)(e->registers + offset), __ATOMIC_ACQUIRE);
}

/* Stores what the device itself says, which is no change by the driver. */
static inline void put(struct ixgbe *e, uint32_t offset, uint32_t value)
{
    if (e->seen)
        e->seen[offset / 4] = value;
    __atomic_store_n((uint32_t *)(e->registers + offset), value, __ATOMIC_RELEASE);
}

uint64_t ix_now(void);

/* counters.c: saturating */
void ix_count32(struct ixgbe *e, uint32_t offset, uint32_t more);
void ix_count36(struct ixgbe *e, uint32_t offset, uint64_t more);
void ix_tally(struct tally *tally, const uint8_t *frame, unsigned length, unsigned count);
void ix_tally_flush(struct ixgbe *e);

/* frames.c */
void ix_look_at(const struct ixgbe *e, struct frame *frame);
uint32_t ix_rss_hash(const struct ixgbe *e, const struct frame *frame, uint8_t *type);
uint32_t ix_frame_check_sequence(const uint8_t *data, unsigned length);
uint32_t ix_sum(const uint8_t *data, unsigned length, uint32_t sum);
uint16_t ix_fold(uint32_t sum);

/* receive.c */
enum taken { TAKEN, NO_DESCRIPTOR, DROPPED };
enum taken ix_receive(struct ixgbe *e, const struct frame *frame, bool wait);
unsigned ix_receive_buffered(struct ixgbe *e);
unsigned ix_receive_same(struct ixgbe *e, const struct frame *frame, unsigned most);
void ix_receive_soon(struct ixgbe *e, unsigned queue);
void ix_receive_flush(struct ixgbe *e);

/* transmit.c */
unsigned ix_transmit(struct ixgbe *e, unsigned queue, unsigned budget);

/* wire.c */
bool ix_wire_plain(const struct ixgbe *e);
void ix_wire_out(struct ixgbe *e, const uint8_t *frame, unsigned length);
unsigned ix_wire_in(struct ixgbe *e);
bool ix_wire_make(struct ixgbe *e);
void ix_wire_end(struct ixgbe *e);

/* interrupts.c */
void ix_queue_event(struct ixgbe *e, unsigned queue, bool transmit);
void ix_deliver_events(struct ixgbe *e);

/* engine.c */
void ix_dma_fault(struct ixgbe *e, bool transmit, unsigned queue, uint64_t address);
void ix_stop_queue(struct ixgbe *e, bool transmit, unsigned queue);

/* steering.c */
unsigned ix_queue_of(const struct ixgbe *e, struct frame *frame, uint32_t *hash, uint8_t *type);

/* rings.c */
bool ix_of_a_ring(uint32_t offset);
uint32_t ix_other_split(uint32_t offset);

/* serial.c */
bool ix_is_serial(uint32_t offset);
void ix_serial_reset(struct ixgbe *e);

/* watch.c */
void ix_watch_some(struct ixgbe *e);
void ix_look_at_rings(struct ixgbe *e);
void ix_look_at_split(struct ixgbe *e, unsigned queue);
void ix_forget_changes(struct ixgbe *e);

#endif
