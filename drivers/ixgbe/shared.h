/* The driver as it runs outside a machine, in the process of a model, for tests and benchmarks. */
#ifndef IXGBE_SHARED_H
#define IXGBE_SHARED_H

#include "engine.h"
#include "work.h"

/* cffi: begin */
/* Opens a port on registers (128 KiB) and memory that a model has at IOVA `base`; interrupts as lib/outside.h says, or
 * NULL.  NULL with *error set: it cannot be opened. */
struct nic *nic_shared_open(void *registers, void *memory, uint64_t size, uint64_t base, uint32_t *interrupts,
                            const struct nic_options *options, int *error);
void nic_shared_close(struct nic *nic);

/* What `turns` turns took: the engine is polled `polls` times on this core, then the driver works on up to `packets` of
 * them in batches.  Processor ticks of the driver's part alone, which touches a byte of each packet. */
uint64_t nic_inline_work(struct nic *nic, struct ixgbe *engine, enum nic_work work, unsigned batch, unsigned packets,
                         unsigned turns, uint64_t *done);

/* As that, for `ticks` ticks, while the engine polls on another core; *busy: ticks in turns that had something to do. */
uint64_t nic_apart_work(struct nic *nic, enum nic_work work, unsigned batch, uint64_t ticks, uint64_t *busy);

/* Ticks for a word to go to another thread, on the processor `there`, and back; the caller's is `here`. */
double nic_ping_pong(int here, int there, unsigned rounds);
uint64_t nic_ticks(void);
/* cffi: end */

#endif
