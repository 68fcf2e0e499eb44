/* A small driver for the Intel 82574 (e1000e): one queue each way, legacy descriptors, polling or interrupts.
 *
 * Numbers in parentheses are sections of the Intel 82574 datasheet, revision 3.4.  It shows how little a driver takes,
 * and that a network card can be passed through; for a fast one see ixgbe/. */
#ifndef E1000E_DRIVER_H
#define E1000E_DRIVER_H

#include "device.h"

#define E1000E_ENTRIES 64U     /* descriptors of each queue; their bytes are a multiple of 128 (3.2.6) */
#define E1000E_FRAME 2048UL    /* bytes of a buffer, and of a frame at most */

struct e1000e_descriptor {
    uint64_t address;
    uint32_t command; /* transmit: length 15:0, command 31:24; receive: length 15:0 */
    uint32_t status;  /* DD is bit 0; receive: errors 15:8 */
};

struct e1000e_queue {
    volatile struct e1000e_descriptor *ring;
    uint8_t *buffers;
    unsigned next; /* the descriptor that is looked at next */
    struct device_memory memory;
};

struct e1000e {
    struct device *device;
    volatile void *registers;
    struct e1000e_queue receive, transmit;
    unsigned done;   /* transmit: the first descriptor whose frame may not have gone yet */
    uint8_t mac[6];
    bool interrupts; /* they are enabled */
    uint64_t dropped; /* received frames that were damaged, or longer than a buffer */
    uint64_t woken;   /* interrupts that e1000e_wait was told of */
};

/* Resets the card and brings it up.  `interrupts`: e1000e_wait waits for them.  0, -DEVICE_ENODEV where the device is
 * none of these or gone, -DEVICE_ENOMEM, -DEVICE_ETIMEDOUT. */
int e1000e_open(struct e1000e *nic, struct device *device, bool interrupts);

/* Stops it: it reaches no memory when this returns. */
void e1000e_close(struct e1000e *nic);

/* Whether the link is up; after e1000e_open that takes up to some seconds. */
bool e1000e_link(const struct e1000e *nic);

/* Sends a frame of 14 to E1000E_FRAME bytes, without its checksum; short ones are padded.  0, -DEVICE_EAGAIN where all
 * descriptors are in use, -DEVICE_EINVAL. */
int e1000e_send(struct e1000e *nic, const void *frame, uint64_t length);

/* Whether all frames have gone. */
bool e1000e_sent(struct e1000e *nic);

/* Takes the next frame that has come: its length, at most `size` of which are copied; 0: there is none. */
uint64_t e1000e_receive(struct e1000e *nic, void *frame, uint64_t size);

/* Waits until something may have come or gone, at most `timeout` nanoseconds; without interrupts not at all. */
void e1000e_wait(struct e1000e *nic, uint64_t timeout);

#endif
