/* A driver for the Intel 82599 10 GbE controller: polling, several queues each way, batches.
 *
 * Packets lie in buffers of one pool, which the device reaches.  What nic_receive gives belongs to the caller until it
 * is sent (nic_send) or given back (nic_free).  A port belongs to one thread at a time.
 *
 * Functions return 0 or a count, or a negative error of device.h. */
#ifndef IXGBE_DRIVER_H
#define IXGBE_DRIVER_H

#include "device.h"

/* cffi: begin */
#define NIC_QUEUES 16      /* most, each way */
#define NIC_LONGEST 1518   /* bytes of a frame with a VLAN tag, without its frame check sequence */
#define NIC_BATCH 64       /* a usual size of arrays of packets; any other will do */

/* Flags of a packet that was received ... */
#define NIC_TAGGED 0x8      /* `tag` is what its VLAN tag held, which is not in the data any more */
#define NIC_L4_CHECKED 0x20 /* the device looked at its TCP or UDP checksum */
#define NIC_IP_CHECKED 0x40 /* and at that of its IPv4 header */
#define NIC_L4_WRONG 0x4000
#define NIC_IP_WRONG 0x8000
/* ... and what the device is to do to one that is sent: */
#define NIC_SUM_IP 0x100 /* fill in the IPv4 header's checksum */
#define NIC_SUM_L4 0x200 /* fill in that of TCP or UDP; the frame ends with the datagram */
#define NIC_PUT_TAG 0x400

struct nic_packet {
    uint8_t *data;
    uint16_t length;
    uint16_t flags;
    uint16_t tag;
    uint16_t buffer; /* of the pool */
};

struct nic_options {
    unsigned receive_queues, transmit_queues; /* 1 to NIC_QUEUES; 0 is 1 */
    unsigned descriptors;                     /* of each ring: a power of two, 64 to 4096; 0 is 512 */
    unsigned buffers;                         /* of the pool, at most 65535; 0: enough for all rings, and 512 */
    bool addressed;                           /* receive what is addressed to us alone, not everything */
    bool strip_tags;
    bool interrupts;                          /* so that nic_wait can be used */
};

/* Totals since nic_open. */
struct nic_statistics {
    uint64_t received, received_bytes, sent, sent_bytes; /* bytes with frame check sequences */
    uint64_t missed;     /* no descriptors and no room in the device */
    uint64_t dropped;    /* by a queue without descriptors */
    uint64_t damaged;    /* wrong frame check sequences */
    uint64_t odd_sizes;  /* too short, too long */
    uint64_t broken;     /* descriptors that said what cannot be: dropped by the driver */
};

struct nic;
/* cffi: end */

struct nic_descriptor {
    uint64_t first, second;
};

struct nic_receive_queue {
    struct nic_descriptor *ring;
    volatile void *tail;
    uint32_t index, mask;
    uint16_t *buffers; /* by descriptor */
    struct device_memory memory;
};

struct nic_transmit_queue {
    struct nic_descriptor *ring;
    volatile void *tail;
    uint32_t index, clean, mask;   /* index and clean go on counting */
    uint32_t unreported;           /* descriptors since the last that asked for a report */
    uint32_t reports_first, reports_end, reports[256]; /* descriptors that asked, as index counts */
    uint64_t full_since;           /* ticks, when it was found full, with `clean` as it was then */
    uint32_t full_at;
    uint16_t *buffers;
    uint64_t context;              /* what the device's context says: 0, nothing */
    struct device_memory memory;
};

struct nic {
    struct device device;
    struct nic_options options;
    volatile void *registers;
    uint8_t mac[6];
    /* the pool: a stack of buffers that are free */
    uint8_t *pool;
    uint64_t pool_iova;
    uint16_t *free;
    uint32_t free_count;
    struct device_memory pool_memory, tables; /* tables: the arrays of buffer numbers */
    struct nic_receive_queue receive[NIC_QUEUES];
    struct nic_transmit_queue transmit[NIC_QUEUES];
    struct nic_statistics statistics;
};

/* Resets the device and brings it up (datasheet section 4.6.3); the link may take seconds more: nic_wait_for_link.
 * `device` has been opened and passes to the port, but if there is an error. */
int nic_open(struct nic *nic, const struct device *device, const struct nic_options *options);

/* cffi: begin */
/* Stops the device and gives all memory back, its own included. */
void nic_close(struct nic *nic);

/* The link's speed in Mb/s, 0 while it is down. */
unsigned nic_link(struct nic *nic);

/* Whether the device was pulled out. */
bool nic_gone(struct nic *nic);

/* 0, or -DEVICE_ETIMEDOUT; -DEVICE_ENODEV. */
int nic_wait_for_link(struct nic *nic, uint64_t milliseconds);

/* Packets that have come to a queue, at most `most`; 0 if none have. */
unsigned nic_receive(struct nic *nic, unsigned queue, struct nic_packet *packets, unsigned most);

/* Hands packets to the device.  How many it took, from the first on; the others still are the caller's. */
unsigned nic_send(struct nic *nic, unsigned queue, const struct nic_packet *packets, unsigned count);

/* Where the data of a packet begins that has this buffer. */
uint8_t *nic_data(const struct nic *nic, uint16_t buffer);

/* An empty packet to fill, of NIC_LONGEST bytes at most; false: the pool is empty. */
bool nic_make(struct nic *nic, struct nic_packet *packet);
void nic_free(struct nic *nic, const struct nic_packet *packets, unsigned count);

/* Takes back buffers of what has been sent, which nic_send does as well when it needs them.  Reports that
 * the device never makes hold nothing up, once a later one is there, or after a while. */
void nic_reclaim(struct nic *nic, unsigned queue);

/* Whether the device has fetched all that was sent on a queue. */
bool nic_drained(struct nic *nic, unsigned queue);

/* Waits until there is something to receive, or the link changes, at most so many nanoseconds; `interrupts` was said.
 * Whoever finds queues empty calls this, and looks again afterwards.  Returns as device_wait. */
int64_t nic_wait(struct nic *nic, uint64_t nanoseconds);

/* Totals, with what the device has counted up to now.  -DEVICE_ENODEV. */
int nic_read_statistics(struct nic *nic, struct nic_statistics *statistics);
/* cffi: end */

#endif
