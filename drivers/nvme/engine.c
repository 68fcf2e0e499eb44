/* The data path of the NVMe model.  Sections are those of the NVM Express base specification, revision 1.4.
 *
 * What is not trusted: everything that the guest can write.  A submission queue entry is copied before it is looked at,
 * a PRP list entry is read once, and memory is reached by dma_at alone. */
#define _GNU_SOURCE
#include "inside.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Takes the identifier of a command that was fetched, for which there is room to say that it is in use. */
static bool take_identifier(struct nvme *nvme, unsigned id, uint16_t cid)
{
    uint64_t *word = &nvme->sq[id].in_progress[cid / 64], bit = 1UL << cid % 64;

    if (*word & bit) { /* told, and the other one goes on */
        nvme_fail(nvme, id, cid, CID_CONFLICT | NVME_DNR, 0);
        nvme_post_entry(nvme, id, cid, CID_CONFLICT | NVME_DNR, 0);
        return false;
    }
    *word |= bit;
    return true;
}

/* Does a command that was fetched. */
static void begin(struct nvme *nvme, unsigned id, const struct sqe *sqe)
{
    struct command *command = nvme_take_command(nvme);
    int status;

    command->sq = (uint16_t)id;
    command->cid = sqe->cid;
    command->status = 0;
    command->result = 0;
    command->lba = 0;
    command->write = sqe->opcode == WRITE;
    command->dead = false;
    command->fault = FAULT_NONE;
    if (nvme->faults.state)
        command->fault = fault_draw(&nvme->faults);
    if (command->fault == FAULT_ERROR)
        status = sqe->opcode == WRITE ? WRITE_FAULT : sqe->opcode == READ ? UNRECOVERED_READ : INTERNAL_ERROR;
    else
        status = nvme_execute(nvme, command, sqe);
    if (status < 0) {
        dma_hold(nvme->user);
        command->place = STORING;
        nvme->storing++;
        return;
    }
    command->status = (uint16_t)status;
    nvme_end_command(nvme, command);
}

/* Fetches and begins commands of a queue; how many. */
static unsigned serve(struct nvme *nvme, unsigned id)
{
    struct sq *sq = &nvme->sq[id];
    struct sqe sqe;
    unsigned done = 0;

    while (sq->head != sq->tail && done < BATCH && !nvme->fatal) {
        const void *from;

        if (id == 0 ? nvme->admin_count == BATCH : nvme->unused_count <= RESERVED || !storage_has_room(nvme->storage))
            break;
        if (nvme->cq[sq->cq].held || !nvme_has_room(nvme, sq->cq) || !dma_may_hold(nvme->user))
            break;
        from = dma_at(nvme->user, sq->iova + sq->head * 64UL, 64, false);
        if (!from) {
            nvme_stop_fatally(nvme, id);
            break;
        }
        memcpy(&sqe, from, sizeof sqe);
        if (++sq->head == sq->size)
            sq->head = 0;
        done++;
        nvme->count.commands++;
        if (!take_identifier(nvme, id, sqe.cid))
            continue;
        if (id == 0)
            nvme->admin[(nvme->admin_head + nvme->admin_count++) % BATCH] = sqe;
        else
            begin(nvme, id, &sqe);
        if (fault_removed(&nvme->faults) && !nvme->removed) {
            nvme->removed = true;
            nvme_tell(nvme, (struct nvme_event){.kind = NVME_REMOVED});
            break;
        }
    }
    return done;
}

void nvme_take_stored(struct nvme *nvme)
{
    uint64_t tag;
    int result;

    while (storage_done(nvme->storage, &tag, &result)) {
        struct command *command = &nvme->command[tag];

        dma_release(nvme->user);
        nvme->storing--;
        if (result)
            command->status = command->write ? WRITE_FAULT : UNRECOVERED_READ;
        nvme_end_command(nvme, command);
    }
}

/* The admin queue's doorbells are always written as registers by some drivers, and only where EventIdx demands it by
 * others: demand it each time.  Those of I/O queues are demanded only before the engine sleeps. */
static void demand(struct nvme *nvme, unsigned slot, uint32_t value)
{
    volatile uint32_t *event = dma_at(nvme->user, nvme->events + slot * 4, 4, true);

    if (!event) {
        nvme_stop_fatally(nvme, slot / 2);
        return;
    }
    if (*event != value)
        __atomic_store_n(event, value, __ATOMIC_RELEASE);
}

/* Doorbells of no queue, which somebody wrote. */
static void unknown_doorbells(struct nvme *nvme)
{
    for (unsigned slot = 0; slot < 1024; slot++) {
        const volatile uint32_t *at = &nvme->doorbells[slot];

        if (*at == 0 || (slot / 2 < NVME_QUEUES && (slot % 2 ? nvme->cq[slot / 2].exists : nvme->sq[slot / 2].exists)))
            continue;
        nvme->doorbells[slot] = 0;
        nvme->count.bad_doorbells++;
        nvme_tell(nvme, (struct nvme_event){.kind = NVME_BAD_DOORBELL, .queue = (uint16_t)(0x1000 + slot * 4)});
    }
}

static bool changed(const struct nvme *nvme)
{
    for (unsigned i = 0; nvme->shared && i < NVME_CONTROL_BYTES / 4; i++)
        if (nvme->shared[i] != nvme->seen[i])
            return true;
    return false;
}

static enum nvme_why pass(struct nvme *nvme)
{
    uint64_t before = nvme->count.commands;
    unsigned served = 0, stored = nvme->storing;

    nvme->count.passes++;
    if (changed(nvme))
        return NVME_CHANGED;
    if (nvme->enabled && !nvme->fatal && !nvme->removed) {
        dma_enter(nvme->user);
        if (nvme->storing)
            nvme_take_stored(nvme);
        if (nvme->late)
            nvme_tell_late(nvme);
        for (unsigned id = 0; id < nvme->queues && !nvme->fatal; id++) {
            if (nvme->cq[id].held) {
                nvme_look_at_cq(nvme, id);
                nvme_tell_held(nvme, id);
            }
            if (!nvme->sq[id].exists)
                continue;
            nvme_look_at_sq(nvme, id);
            if (nvme->sq[id].head != nvme->sq[id].tail)
                served += serve(nvme, id);
        }
        if (nvme->shadowed && !nvme->fatal) {
            demand(nvme, 0, nvme->sq[0].tail);
            demand(nvme, 1, nvme->cq[0].head);
        }
        if (nvme->storing)
            storage_submit(nvme->storage);
        if (!served)
            for (unsigned id = 0; id < nvme->queues && !nvme->fatal; id++)
                if (nvme->cq[id].exists)
                    nvme_look_at_cq(nvme, id);
        dma_leave(nvme->user);
        for (unsigned id = 0; id < nvme->queues; id++)
            if (nvme->cq[id].raise) {
                nvme->cq[id].raise = false;
                if (nvme->cq[id].interrupts && !nvme->removed)
                    nvme_raise_vector(nvme, nvme->cq[id].vector);
            }
    } else if (nvme->storing) {
        dma_enter(nvme->user);
        storage_submit(nvme->storage);
        nvme_take_stored(nvme);
        dma_leave(nvme->user);
    }
    if (nvme->count.passes % 256 == 0 && !nvme->removed)
        unknown_doorbells(nvme);
    if (nvme->event_count)
        return NVME_TOLD;
    if (nvme->admin_count && !nvme->fatal)
        return NVME_ADMIN;
    return served || stored != nvme->storing || before != nvme->count.commands ? NVME_BUSY : NVME_IDLE;
}

enum nvme_why nvme_pass(struct nvme *nvme)
{
    enum nvme_why why;

    pthread_mutex_lock(&nvme->lock);
    why = pass(nvme);
    pthread_mutex_unlock(&nvme->lock);
    return why;
}

bool nvme_look_everywhere(struct nvme *nvme)
{
    unsigned before;

    pthread_mutex_lock(&nvme->lock);
    before = nvme->event_count;
    if (!nvme->removed)
        unknown_doorbells(nvme);
    before = nvme->event_count - before;
    pthread_mutex_unlock(&nvme->lock);
    return before;
}

/* Before a sleep that only a trapped doorbell ends: has the driver write these registers, and looks whether it did not
 * do so just before it could know (5.7: EventIdx).  Whether all is quiet. */
static bool quiet(struct nvme *nvme)
{
    bool all = true;

    dma_enter(nvme->user);
    for (unsigned id = 1; id < nvme->queues && nvme->shadowed && !nvme->fatal; id++) {
        if (nvme->sq[id].exists)
            demand(nvme, 2 * id, nvme->sq[id].tail);
        if (nvme->cq[id].exists)
            demand(nvme, 2 * id + 1, nvme->cq[id].head);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (unsigned id = 0; id < nvme->queues && nvme->enabled && !nvme->fatal; id++)
        if (nvme->sq[id].exists && nvme_doorbell_value(nvme, 2 * id) != nvme->sq[id].tail)
            all = false;
    dma_leave(nvme->user);
    return all;
}

/* How long the engine may sleep: not beyond what is told late. */
static uint64_t may_sleep(const struct nvme *nvme, uint64_t most)
{
    uint64_t time = nvme->late ? now() : 0;

    for (const struct command *command = nvme->late; command; command = command->next)
        if (command->due < time + most)
            most = command->due > time ? command->due - time : 1;
    return most;
}

enum nvme_why nvme_run(struct nvme *nvme, uint64_t sleep_ns, bool polled)
{
    uint64_t sleep = 1000, wait = STORING_WAIT, idle_since = 0;

    for (unsigned idle = 0;; idle++) {
        uint32_t wake = __atomic_load_n(&nvme->wake, __ATOMIC_ACQUIRE);
        enum nvme_why why = nvme_pass(nvme);

        if (__atomic_exchange_n(&nvme->asked, 0, __ATOMIC_ACQ_REL))
            return NVME_STOPPED;
        if (why != NVME_IDLE && why != NVME_BUSY)
            return why;
        if (__atomic_load_n(&nvme->wanted, __ATOMIC_RELAXED)) /* a mutex alone is taken again before they wake */
            usleep(1);
        if (why == NVME_BUSY) {
            idle = 0;
            sleep = 1000;
            wait = STORING_WAIT;
            continue;
        }
        __builtin_ia32_pause();
        if (!sleep_ns || idle % 64)
            continue;
        if (idle && nvme->storing) { /* the next to happen, most likely; new commands wait for it, but not long */
            storage_wait(nvme->storage, wait);
            wait = wait * 2 < LONGEST_STORING_WAIT ? wait * 2 : LONGEST_STORING_WAIT;
            continue;
        }
        if (idle == 0 || !idle_since || idle == 64)
            idle_since = now();
        if (now() - idle_since < (polled ? 50000 : 5000))
            continue;
        pthread_mutex_lock(&nvme->lock);
        if (polled || quiet(nvme)) {
            uint64_t longest = may_sleep(nvme, polled ? sleep : sleep_ns);
            struct timespec time = {(time_t)(longest / 1000000000), (long)(longest % 1000000000)};

            pthread_mutex_unlock(&nvme->lock);
            syscall(SYS_futex, &nvme->wake, FUTEX_WAIT_PRIVATE, wake, &time, NULL, 0);
            sleep = sleep * 2 < sleep_ns ? sleep * 2 : sleep_ns;
        } else {
            pthread_mutex_unlock(&nvme->lock);
        }
    }
}

void nvme_rest(struct nvme *nvme, uint64_t ns)
{
    if (nvme->storing)
        storage_wait(nvme->storage, ns);
}

static void wake(struct nvme *nvme)
{
    __atomic_fetch_add(&nvme->wake, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &nvme->wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void nvme_interrupt_run(struct nvme *nvme)
{
    __atomic_store_n(&nvme->asked, 1, __ATOMIC_RELEASE);
    wake(nvme);
}

void nvme_doorbell(struct nvme *nvme, uint32_t offset, uint32_t size, uint32_t value)
{
    unsigned slot = offset / 4, id = slot / 2;

    lock(nvme);
    if (offset % 4 || size != 4 || id >= NVME_QUEUES || !(slot % 2 ? nvme->cq[id].exists : nvme->sq[id].exists)) {
        nvme->count.bad_doorbells++;
        nvme_tell(nvme, (struct nvme_event){.kind = NVME_BAD_DOORBELL, .queue = (uint16_t)(0x1000 + offset),
                                       .value = value});
    } else if (!nvme->shadowed || id == 0) { /* at once: two writes must not become one */
        nvme->doorbells[slot] = value;
        if (slot % 2)
            nvme_look_at_cq(nvme, id);
        else
            nvme_look_at_sq(nvme, id);
    }
    unlock(nvme);
    wake(nvme);
}
