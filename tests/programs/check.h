/* What the freestanding test programs share: they say each thing that is wrong and exit with 1 if any was. */
#ifndef CHECK_H
#define CHECK_H

#include <aero.h>
#include <string.h>

static int failures;

/* Says what is wrong, with the value found and the one expected. */
static inline void wrong(const char *what, int64_t found, int64_t expected)
{
    /* A broken kernel fails everything: the first lines tell as much as ten thousand. */
    if (failures++ >= 20)
        return;
    aero_print("WRONG ");
    aero_print(what);
    aero_print(": ");
    aero_print_number(found);
    aero_print(" (");
    aero_print_hex((uint64_t)found);
    aero_print("), expected ");
    aero_print_number(expected);
    aero_print("\n");
}

static inline void expect(const char *what, int64_t found, int64_t expected)
{
    if (found != expected)
        wrong(what, found, expected);
}

static inline void expect_true(const char *what, bool found)
{
    if (!found)
        wrong(what, 0, 1);
}

/* For results the rest of the program cannot do without. */
static inline int64_t must(const char *what, int64_t result)
{
    if (aero_failed(result)) {
        aero_print(what);
        aero_print(" failed: ");
        aero_print(aero_error_name(result));
        aero_print("\n");
        aero_process_exit(1);
    }
    return result;
}

/* The exit status, after a line that says how it went. */
static inline int verdict(const char *name)
{
    aero_print(name);
    if (failures) {
        aero_print(": ");
        aero_print_number(failures);
        aero_print(" wrong\n");
        return 1;
    }
    aero_print(": ok\n");
    return 0;
}

/* A decimal number without a sign; `otherwise` when the argument is missing or none. */
static inline uint64_t number_or(const char *text, uint64_t otherwise)
{
    uint64_t number = 0;

    if (!text || !*text)
        return otherwise;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return otherwise;
        number = number * 10 + (uint64_t)(*text - '0');
    }
    return number;
}

/* George Marsaglia, "Xorshift RNGs", 2003: the (13, 7, 17) triple.  The state must not be 0. */
static inline uint64_t xorshift(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
