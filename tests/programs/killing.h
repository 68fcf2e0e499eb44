/* Ends of threads, processes and containers, and what they must not leave at an endpoint. */
#ifndef KILLING_H
#define KILLING_H

#include "scenes.h"

#define BOTH (AERO_READ | AERO_WRITE)
#define PAGE 0x300000000UL
#define WINDOW 0x400000000UL
#define KILLED 137

static inline volatile uint64_t *word_at(uint64_t address)
{
    return (volatile uint64_t *)address;
}

/* A container for one child, or 0 for none. */
static inline aero_handle container_if(bool wanted)
{
    return wanted ? (aero_handle)must("container_create", aero_container_create(24, 0, 0, 0)) : 0;
}

static inline int64_t calls(aero_handle endpoint)
{
    struct aero_message message = {.words = {2}};

    return aero_message_call(endpoint, AERO_FOREVER, &message);
}

static inline int receive_one(void *argument)
{
    struct aero_message message = {0};
    int64_t result = aero_message_receive((aero_handle)argument, AERO_FOREVER, &message);

    return result ? (int)result : (int)message.words[0];
}

/* Nobody is left in the queue: a message goes from here to one who receives it, and none is there before. */
static inline void expect_empty(aero_handle endpoint)
{
    struct aero_message message = {.words = {33}};
    struct aero_thread receiver;

    expect("a message of somebody killed", aero_message_receive(endpoint, 0, &message), -AERO_EAGAIN);
    expect("a receiver that was killed", aero_message_send(endpoint, 0, &message), -AERO_EAGAIN);
    spawn(&receiver, receive_one, endpoint);
    expect("message_send", aero_message_send(endpoint, AERO_FOREVER, &message), 0);
    expect("who received it", aero_thread_wait(&receiver), 33);
}

static inline void kill_child(const char *name, struct aero_child *child, aero_handle container)
{
    if (container) {
        expect(name, aero_container_kill(container), 0);
        expect(name, aero_process_wait(child->process), -AERO_ESRCH);
        must("munmap", aero_munmap(child->stack, AERO_CHILD_STACK_SIZE));
    } else {
        expect(name, aero_process_kill(child->process), 0);
        expect(name, aero_child_wait(child), KILLED);
    }
}

#endif
