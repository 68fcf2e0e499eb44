/* The data path of a modelled Intel 82599 10 GbE controller: descriptor rings, filters, offloads, counters, interrupts.
 *
 * The register file is memory of IXGBE_BAR bytes, which the engine reads as the device's own logic would; what a write
 * to a register means beyond that is decided in model.py, which calls the functions below.  Sections named in comments
 * are those of the Intel 82599 10 GbE Controller Datasheet.
 *
 * Functions are called with the engine's lock held (ixgbe_lock), except where they say otherwise.  What is between the
 * cffi marks is declared to Python as it stands. */
#ifndef IXGBE_ENGINE_H
#define IXGBE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "dma.h"
#include "faults.h"

/* cffi: begin */
#define IXGBE_BAR 131072
#define IXGBE_QUEUES 128
#define IXGBE_VECTORS 64
#define IXGBE_FRAME 15872 /* longest frame, without its frame check sequence (FCS): 15.5 KiB */
#define IXGBE_SCANNED 32  /* pages of the register file */

/* What a driver did that the device must not be asked for. */
enum ixgbe_error {
    IXGBE_DMA_FAULT,        /* an address that the IOMMU domain does not allow; the queue stops */
    IXGBE_TAIL_BEYOND,      /* RDT or TDT outside the ring; the queue stops */
    IXGBE_HEAD_WRITTEN,     /* RDH or TDH of an enabled queue */
    IXGBE_RING_CHANGED,     /* base or length of an enabled queue */
    IXGBE_RING_SIZE,        /* a queue enabled with a length of 0, or a base that is not aligned */
    IXGBE_ENABLE_ORDER,     /* TXDCTL.ENABLE before DMATXCTL.TE */
    IXGBE_BUFFER_SIZE,      /* SRRCTL.BSIZEPACKET 0, or a frame that does not fit in a whole ring */
    IXGBE_DESCRIPTOR_TYPE,  /* SRRCTL.DESCTYPE or DTYP that does not exist */
    IXGBE_CONTEXT_MISSING,  /* offloads asked for without a context descriptor */
    IXGBE_LENGTH,           /* a descriptor's length 0 or too long; a frame too long */
    IXGBE_PAYLEN,           /* PAYLEN is not the sum of the lengths */
    IXGBE_NO_EOP,           /* more descriptors than a packet can have without an end of packet */
    IXGBE_ACCESS,           /* registers not as 32 aligned bits */
    IXGBE_IN_RESET,         /* a write while the device resets itself */
    IXGBE_RESET_BUSY,       /* CTRL.RST while descriptors are left, with the GIO master still enabled */
    IXGBE_CRC_STRIP,        /* HLREG0.RXCRCSTRP and RDRXCTL.CRCSTRIP do not agree */
    IXGBE_UNKNOWN_REGISTER, /* a write to what is no register */
    IXGBE_ERRORS
};

struct ixgbe_report {
    uint32_t kind, queue; /* queue or register offset */
    uint64_t value;
};

enum ixgbe_source { IXGBE_PATIENT, IXGBE_STORM };

struct ixgbe;

struct ixgbe *ixgbe_make(struct dma_map *map, void *registers, struct faults *faults);
void ixgbe_end(struct ixgbe *e); /* after ixgbe_halt */
void ixgbe_lock(struct ixgbe *e);
void ixgbe_unlock(struct ixgbe *e);

/* A reset: rings stop, buffered frames are dropped, no interrupt is pending, registers are as `defaults` says, the link
 * goes down; with `link_after` not negative it comes up by itself after so many nanoseconds. */
void ixgbe_defaults(struct ixgbe *e, const void *registers, int64_t link_after);
void ixgbe_reset(struct ixgbe *e);

/* A write of `value` to a ring's base, length, head or control (RDBAL to RXDCTL, TDBAL to TXDCTL; SRRCTL at either place),
 * where `before` was: what is there now.  Setting ENABLE starts the ring with its registers as they are, if they can be. */
uint32_t ixgbe_ring_write(struct ixgbe *e, uint32_t offset, uint32_t before, uint32_t value);

/* The EEPROM, whose words stay the caller's, and the 256 bytes that the module in the SFP+ cage says of itself, NULL for none. */
void ixgbe_serial(struct ixgbe *e, uint16_t *eeprom, uint32_t words, const uint8_t *module);

/* A write of `value` to EEC or I2CCTL, the pins of these, where `before` was: what is there now. */
uint32_t ixgbe_serial_write(struct ixgbe *e, uint32_t offset, uint32_t before, uint32_t value);

/* Filters that choose queues (ETQF, FTQF) have changed. */
void ixgbe_steer(struct ixgbe *e);

/* Whether descriptors are left to transmit. */
bool ixgbe_busy(struct ixgbe *e);

/* Does what there is to do now, a bounded part of it.  Returns how many frames went either way. */
unsigned ixgbe_poll(struct ixgbe *e);

/* Time alone: the link, throttled interrupts. */
void ixgbe_tick(struct ixgbe *e);

/* The link goes down now, and comes up in so many nanoseconds; negative: it stays down. */
void ixgbe_link(struct ixgbe *e, int64_t up_after);

void ixgbe_error(struct ixgbe *e, enum ixgbe_error kind, unsigned queue, uint64_t value);
uint64_t ixgbe_error_count(struct ixgbe *e, enum ixgbe_error kind);
/* The last reports, oldest first; returns how many of at most `most`. */
unsigned ixgbe_reports(struct ixgbe *e, struct ixgbe_report *to, unsigned most);

/* Interrupts: causes are bits of EICR.  The event of a vector is 1 written to its eventfd, or its count in shared memory. */
void ixgbe_events(struct ixgbe *e, const int *eventfds, uint32_t *counts);
void ixgbe_cause(struct ixgbe *e, uint32_t bits);
void ixgbe_raise(struct ixgbe *e, unsigned first, uint32_t vectors); /* of MSI-X, 32 from `first` on */
uint32_t ixgbe_clear_causes(struct ixgbe *e, uint32_t bits); /* those that are left */
/* EIMS, and EIMS_EX from vector `first` on, with these bits off and then those on; the first 16 bits are the same ones.
 * What a driver reads there now. */
uint32_t ixgbe_mask(struct ixgbe *e, uint32_t on, uint32_t off);
uint32_t ixgbe_mask_vectors(struct ixgbe *e, unsigned first, uint32_t on, uint32_t off);

/* The device is pulled out: every register reads as all ones, nothing moves any more, 1 is written to `eventfd`. */
void ixgbe_remove(struct ixgbe *e);
void ixgbe_removal(struct ixgbe *e, int eventfd);
bool ixgbe_removed(struct ixgbe *e);

/* Frames, without FCS.  `arrive` is what the wire brings, with an FCS that is wrong if `damaged`. */
void ixgbe_arrive(struct ixgbe *e, const void *frame, unsigned length, bool damaged);
/* The oldest frame that was captured; its length, or 0. */
unsigned ixgbe_sent(struct ixgbe *e, void *to, unsigned most);

/* Back ends, any of them together. */
void ixgbe_capture(struct ixgbe *e, bool on);
/* Frames come from a list, `times` times over (0: for ever): `lengths` of them behind one another at `frames`, copied.
 * PATIENT waits until there is a descriptor; STORM brings 64 at each poll whether there is or not. */
bool ixgbe_feed(struct ixgbe *e, const void *frames, const uint32_t *lengths, unsigned count, uint64_t times,
                enum ixgbe_source how);
bool ixgbe_fed(struct ixgbe *e); /* whether the list has come to its end */
void ixgbe_descriptor(struct ixgbe *e, int fd);      /* TAP or AF_PACKET: a frame a read, a frame a write; -1: none */
void ixgbe_pcap(struct ixgbe *e, int fd);            /* what is sent is appended as records of a pcap file; -1: none */
void ixgbe_wire(struct ixgbe *a, struct ixgbe *b);   /* each receives what the other sends; with both locks */
void ixgbe_unwire(struct ixgbe *e);                  /* likewise */
uint64_t ixgbe_sunk(struct ixgbe *e);                /* bytes that left */

/* Polls on a thread of its own.  `idle_ns`: how long it sleeps when there has been nothing to do for a while, 0 to go on
 * polling.  Called without the lock.  0 or an error number. */
int ixgbe_run(struct ixgbe *e, uint64_t idle_ns);
void ixgbe_halt(struct ixgbe *e);

/* Registers that the driver writes as memory: the engine looks at `pages` (a bit each) for words that differ from what
 * they were, except those with `own`, which the device writes.  The engine resets the device itself at once when CTRL
 * says so, for drivers give that only microseconds; everything else is told to ixgbe_changed's caller. */
void ixgbe_watch(struct ixgbe *e, uint32_t pages, const uint8_t *own);
/* A change has been decided: the word is to be `value`, unless the driver has written something else than `found`. */
void ixgbe_settle(struct ixgbe *e, uint32_t offset, uint32_t found, uint32_t value);
void ixgbe_put(struct ixgbe *e, uint32_t offset, uint32_t value); /* what the device itself says */
unsigned ixgbe_scan(struct ixgbe *e);              /* looks at all pages; how many words had changed */
/* The next change, waiting for one at most so many nanoseconds; without the lock.  False: none. */
bool ixgbe_changed(struct ixgbe *e, uint32_t *offset, uint32_t *before, uint32_t *value, uint64_t timeout);
/* cffi: end */

#endif
