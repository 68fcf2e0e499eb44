/* What a modelled NVMe namespace is kept in: memory, or a file, by io_uring where the host has it.
 *
 * With an undo log, what was written and not flushed can be lost, as when power fails: storage_cut_power. */
#ifndef STORAGE_H
#define STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* cffi: begin */
struct storage;

/* In memory, which stays the caller's. */
struct storage *storage_in_memory(void *at, uint64_t bytes);

/* In a file, which stays the caller's to close.  With `direct` the file was opened with O_DIRECT: pieces that are not
 * aligned are copied.  `depth` operations may be in progress at once; 0: each is done before the next begins. */
struct storage *storage_in_file(int file, uint64_t bytes, bool direct, unsigned depth);

/* Waits for what is in progress. */
void storage_end(struct storage *storage);

/* Whether operations may be in progress: depth was not 0, and the host has io_uring. */
bool storage_is_asynchronous(const struct storage *storage);

/* Keeps from now on what unflushed blocks of `block` bytes were before; operations are done one by one then.
 * 0 or -ENOMEM. */
int storage_keep_undo(struct storage *storage, uint32_t block);

/* Power fails: each block that was written since the last flush is as before with a probability of one half, drawn from
 * the seed.  How many that were; -EINVAL without an undo log. */
int64_t storage_cut_power(struct storage *storage, uint64_t seed);
/* cffi: end */

enum storage_operation { STORAGE_READ, STORAGE_WRITE, STORAGE_FLUSH, STORAGE_ZERO };

#define STORAGE_IN_PROGRESS 1

/* Does it, or starts it.  `part` must stay until it is done.  `through`: written to what stays without power.
 * 0: done; a negative error number: not done; STORAGE_IN_PROGRESS: storage_done will tell the tag. */
int storage_start(struct storage *storage, enum storage_operation what, uint64_t offset, uint64_t bytes,
                  struct iovec *part, unsigned parts, bool through, uint64_t tag);

/* Flushes at once, whatever is in progress.  0 or a negative error number. */
int storage_flush(struct storage *storage);

/* Has the host look at what was started. */
void storage_submit(struct storage *storage);

/* The next that is done, if any: its tag, and 0 or a negative error number. */
bool storage_done(struct storage *storage, uint64_t *tag, int *result);

/* Waits until something in progress is done, or so many nanoseconds are over: better many, for a timer that is the
 * processor's next one is as dear as an operation.  Any thread may, meanwhile. */
void storage_wait(struct storage *storage, uint64_t ns);

/* Operations in progress, and whether another can be started. */
unsigned storage_in_progress(const struct storage *storage);
bool storage_has_room(const struct storage *storage);

/* The memory that it is, or NULL. */
uint8_t *storage_memory(const struct storage *storage);

#endif
