/* Programs of many scenes, each run by its name: NAME SCENE */
#ifndef SCENES_H
#define SCENES_H

#include "check.h"

struct scene {
    const char *name;
    void (*play)(void);
};

/* Plays the scene that the program's first argument names; 2 if there is none of this name. */
static inline int play(const struct scene *scenes, size_t count, int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < count; i++)
        if (strcmp(argv[1], scenes[i].name) == 0) {
            scenes[i].play();
            return verdict(argv[1]);
        }
    return 2;
}

/* Lets others run for a while: on one core each of them gets its turn, on several a few microseconds pass. */
static inline void let_others_run(int turns)
{
    while (turns-- > 0)
        aero_thread_yield();
}

static inline void await(volatile uint64_t *what)
{
    while (!*what)
        aero_thread_yield();
}

static inline aero_handle new_endpoint(void)
{
    return (aero_handle)must("endpoint_create", aero_endpoint_create());
}

static inline aero_handle copy(aero_handle endpoint, uint64_t rights, uint64_t badge)
{
    return (aero_handle)must("handle_copy", aero_handle_copy(endpoint, rights, badge));
}

static inline void spawn(struct aero_thread *thread, int (*function)(void *), uint64_t argument)
{
    must("aero_thread_spawn", aero_thread_spawn(thread, function, (void *)argument));
}

/* A child, not started, that has the program and its variables. */
static inline struct aero_child new_child(aero_handle container)
{
    struct aero_child child;

    must("aero_child_create", aero_child_create(&child, container));
    return child;
}

static inline aero_handle give(const struct aero_child *child, aero_handle endpoint, uint64_t rights)
{
    return (aero_handle)must("handle_give", aero_handle_give(child->process, endpoint, rights));
}

static inline void start(struct aero_child *child, int (*function)(void *), uint64_t argument)
{
    must("aero_child_start", aero_child_start(child, function, (void *)argument));
}

#endif
