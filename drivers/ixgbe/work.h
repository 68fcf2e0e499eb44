/* Work of the driver to time: natively (shared.c) and in a machine (bench/programs/nicpaths.c) the same. */
#ifndef IXGBE_WORK_H
#define IXGBE_WORK_H

#include "driver.h"

/* cffi: begin */
enum nic_work { NIC_RECEIVE, NIC_GENERATE, NIC_FORWARD };
/* cffi: end */

/* One batch, with a touch of each packet; how many packets it was. */
static inline unsigned work_once(struct nic *nic, enum nic_work work, struct nic_packet *packets, unsigned batch)
{
    unsigned got = 0, sent;

    if (work == NIC_GENERATE) {
        for (; got < batch && nic_make(nic, &packets[got]); got++)
            packets[got].length = 60;
        for (unsigned i = 0; i < got; i++)
            packets[i].data[1]++;
    } else {
        got = nic_receive(nic, 0, packets, batch);
        for (unsigned i = 0; i < got; i++)
            packets[i].data[1]++;
    }
    if (work == NIC_RECEIVE) {
        nic_free(nic, packets, got);
        return got;
    }
    sent = got ? nic_send(nic, 0, packets, got) : 0;
    if (sent < got)
        nic_free(nic, packets + sent, got - sent);
    if (!got)
        nic_reclaim(nic, 0);
    return work == NIC_GENERATE ? sent : got;
}

/* Batches until it was `most` packets, or there is nothing more to do; how many it was. */
static inline unsigned work_burst(struct nic *nic, enum nic_work work, struct nic_packet *packets, unsigned batch,
                                  unsigned most)
{
    unsigned done = 0, one;

    while (done < most && (one = work_once(nic, work, packets, batch)))
        done += one;
    return done;
}

#endif
