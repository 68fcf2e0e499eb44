/* Faults that a model injects: which of the things it does go wrong, drawn from a seed, so that a run can be repeated. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* cffi: begin */
enum fault {
    FAULT_NONE,
    FAULT_LATE,       /* done, but told later */
    FAULT_LOST,       /* done, never told */
    FAULT_DUPLICATED, /* told twice */
    FAULT_ERROR,      /* not done, told with an error */
    FAULT_KINDS
};

struct faults {
    uint64_t state;                  /* of the generator; not 0 */
    uint32_t per_million[FAULT_KINDS]; /* how often each is drawn; FAULT_NONE's is not used */
    uint64_t late_ns;                /* how late */
    uint64_t removal_after;          /* draws until the device is removed by surprise; 0: never */
    uint64_t draws;
    uint64_t injected[FAULT_KINDS];
};

/* What happens to the next thing. */
enum fault fault_draw(struct faults *faults);

/* Whether the device is gone. */
bool fault_removed(const struct faults *faults);
/* cffi: end */

#endif
