/* Where frames come from and go to: a list, a list of what was sent, a file descriptor, a pcap file, another model. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "inside.h"

#define AT_ONCE 64 /* frames of each kind that one poll takes */

static bool pipe_make(struct pipe *pipe)
{
    pipe->bytes = malloc(PIPE);
    return pipe->bytes;
}

static void pipe_put(struct pipe *pipe, const void *frame, uint32_t length, uint32_t flags)
{
    uint64_t tail = atomic_load_explicit(&pipe->tail, memory_order_relaxed), at;
    uint32_t space = (length + 15) & ~7u, words[2] = {length, flags};

    if (tail + space - atomic_load_explicit(&pipe->head, memory_order_acquire) > PIPE)
        return; /* a wire does not wait */
    memcpy(pipe->bytes + tail % PIPE, words, 8);
    at = (tail + 8) % PIPE;
    if (at + length <= PIPE) {
        memcpy(pipe->bytes + at, frame, length);
    } else {
        memcpy(pipe->bytes + at, frame, PIPE - at);
        memcpy(pipe->bytes, (const uint8_t *)frame + (PIPE - at), length - (PIPE - at));
    }
    atomic_store_explicit(&pipe->tail, tail + space, memory_order_release);
}

/* Copies the oldest frame to `to`; its length, or 0. */
static uint32_t pipe_look(struct pipe *pipe, uint8_t *to, uint32_t *flags)
{
    uint64_t head = atomic_load_explicit(&pipe->head, memory_order_relaxed), at;
    uint32_t words[2];

    if (head == atomic_load_explicit(&pipe->tail, memory_order_acquire))
        return 0;
    memcpy(words, pipe->bytes + head % PIPE, 8);
    at = (head + 8) % PIPE;
    *flags = words[1];
    if (at + words[0] <= PIPE) {
        memcpy(to, pipe->bytes + at, words[0]);
    } else {
        memcpy(to, pipe->bytes + at, PIPE - at);
        memcpy(to + (PIPE - at), pipe->bytes, words[0] - (PIPE - at));
    }
    return words[0];
}

static void pipe_drop(struct pipe *pipe, uint32_t length)
{
    atomic_store_explicit(&pipe->head, atomic_load_explicit(&pipe->head, memory_order_relaxed) + ((length + 15) & ~7u),
                          memory_order_release);
}

bool ix_wire_make(struct ixgbe *e)
{
    e->fd = e->pcap = -1;
    return pipe_make(&e->injected) && pipe_make(&e->wired) && pipe_make(&e->captured);
}

void ix_wire_end(struct ixgbe *e)
{
    free(e->injected.bytes);
    free(e->wired.bytes);
    free(e->captured.bytes);
    free(e->feed);
    free(e->feed_bytes);
    ixgbe_unwire(e);
}

void ixgbe_arrive(struct ixgbe *e, const void *frame, unsigned length, bool damaged)
{
    if (length >= 14 && length <= IXGBE_FRAME)
        pipe_put(&e->injected, frame, length, damaged);
}

unsigned ixgbe_sent(struct ixgbe *e, void *to, unsigned most)
{
    uint32_t flags, length = pipe_look(&e->captured, e->incoming, &flags);

    if (!length)
        return 0;
    memcpy(to, e->incoming, length < most ? length : most);
    pipe_drop(&e->captured, length);
    return length < most ? length : most;
}

void ixgbe_capture(struct ixgbe *e, bool on)
{
    e->capture = on;
}

bool ixgbe_feed(struct ixgbe *e, const void *frames, const uint32_t *lengths, unsigned count, uint64_t times,
                enum ixgbe_source how)
{
    uint64_t all = 0;
    uint8_t *bytes;
    struct frame *list;

    for (unsigned i = 0; i < count; i++) {
        if (lengths[i] < 14 || lengths[i] > IXGBE_FRAME)
            return false;
        all += lengths[i];
    }
    bytes = malloc(all + 1);
    list = calloc(count + 1, sizeof *list);
    if (!bytes || !list) {
        free(bytes);
        free(list);
        return false;
    }
    memcpy(bytes, frames, all);
    all = 0;
    for (unsigned i = 0; i < count; i++) {
        list[i] = (struct frame){.data = bytes + all, .length = lengths[i]};
        ix_look_at(e, &list[i]);
        all += lengths[i];
    }
    free(e->feed);
    free(e->feed_bytes);
    e->feed = list;
    e->feed_bytes = bytes;
    e->feed_count = count;
    e->feed_next = 0;
    e->feed_left = count * times;
    e->feed_forever = times == 0;
    e->feed_how = how;
    return true;
}

bool ixgbe_fed(struct ixgbe *e)
{
    return !e->feed_count || (!e->feed_forever && !e->feed_left);
}

void ixgbe_descriptor(struct ixgbe *e, int fd)
{
    e->fd = fd;
}

void ixgbe_pcap(struct ixgbe *e, int fd)
{
    e->pcap = fd;
}

void ixgbe_wire(struct ixgbe *a, struct ixgbe *b)
{
    a->peer = b;
    b->peer = a;
}

void ixgbe_unwire(struct ixgbe *e)
{
    if (e->peer)
        e->peer->peer = NULL;
    e->peer = NULL;
}

uint64_t ixgbe_sunk(struct ixgbe *e)
{
    return e->sunk;
}

static void record(int fd, const uint8_t *frame, uint32_t length)
{
    struct timespec now;
    uint32_t header[4];

    clock_gettime(CLOCK_REALTIME, &now);
    header[0] = (uint32_t)now.tv_sec;
    header[1] = (uint32_t)now.tv_nsec; /* the file's magic number says nanoseconds */
    header[2] = header[3] = length;
    if (writev(fd, (struct iovec[]){{header, sizeof header}, {(void *)frame, length}}, 2) < 0) {
        /* A disk that is full loses frames, as a wire that is cut does. */
    }
}

/* Whether what is sent goes nowhere but into a count. */
bool ix_wire_plain(const struct ixgbe *e)
{
    return !e->capture && !e->peer && e->fd < 0 && e->pcap < 0 && !(reg(e, HLREG0) >> 15 & 1);
}

void ix_wire_out(struct ixgbe *e, const uint8_t *frame, unsigned length)
{
    uint64_t eight;

    memcpy(&eight, frame, 8);
    e->sum += (uint32_t)eight;
    e->sunk += length;
    if (reg(e, HLREG0) >> 15 & 1) { /* loopback */
        pipe_put(&e->injected, frame, length, 0);
        return;
    }
    if (e->capture)
        pipe_put(&e->captured, frame, length, 0);
    if (e->peer)
        pipe_put(&e->peer->wired, frame, length, 0);
    if (e->fd >= 0 && write(e->fd, frame, length) < 0) {
        /* Nobody there, or its queue is full. */
    }
    if (e->pcap >= 0)
        record(e->pcap, frame, length);
}

static unsigned from_pipe(struct ixgbe *e, struct pipe *pipe)
{
    struct frame frame = {.data = e->incoming};
    unsigned done = 0;
    uint32_t flags;

    while (done < AT_ONCE && (frame.length = pipe_look(pipe, e->incoming, &flags))) {
        frame.damaged = flags;
        ix_look_at(e, &frame);
        ix_receive(e, &frame, false);
        pipe_drop(pipe, frame.length);
        done++;
    }
    return done;
}

/* What a virtual interface carries need not be padded, and has no FCS. */
static unsigned from_descriptor(struct ixgbe *e)
{
    struct frame frame = {.data = e->incoming};
    unsigned done = 0;

    for (; done < AT_ONCE; done++) {
        ssize_t length = read(e->fd, e->incoming, IXGBE_FRAME);

        if (length < 14)
            break;
        if (length < 60) {
            memset(e->incoming + length, 0, (size_t)(60 - length));
            length = 60;
        }
        frame.length = (uint32_t)length;
        ix_look_at(e, &frame);
        ix_receive(e, &frame, false);
    }
    return done;
}

static unsigned from_feed(struct ixgbe *e)
{
    unsigned done = 0;

    if (e->feed_count == 1) {
        done = ix_receive_same(e, e->feed, e->feed_forever || e->feed_left > AT_ONCE ? AT_ONCE : (unsigned)e->feed_left);
        e->feed_left -= e->feed_forever ? 0 : done;
    } else {
        ix_receive_soon(e, 0);
    }
    for (; done < AT_ONCE && (e->feed_forever || e->feed_left); done++) {
        enum taken taken = ix_receive(e, &e->feed[e->feed_next], e->feed_how == IXGBE_PATIENT);

        if (taken == NO_DESCRIPTOR && e->feed_how == IXGBE_PATIENT)
            break;
        e->feed_next = e->feed_next + 1 == e->feed_count ? 0 : e->feed_next + 1;
        e->feed_left -= !e->feed_forever;
    }
    return done;
}

unsigned ix_wire_in(struct ixgbe *e)
{
    unsigned done = 0;

    if (e->buffered)
        done += ix_receive_buffered(e);
    done += from_pipe(e, &e->injected) + from_pipe(e, &e->wired);
    if (e->feed_count && e->link && reg(e, RXCTRL) & 1)
        done += from_feed(e);
    if (e->fd >= 0)
        done += from_descriptor(e);
    return done;
}
