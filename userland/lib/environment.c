/* What the host tells a program in its environment (AERO_ENDPOINT_NAME, AERO_DEVICE_NAME).  `environ` is the C
 * library's or, for programs without one, start.c's. */
#include "aero.h"

extern char **environ;

/* The letter as it is in a variable's name: upper case, and _ for -. */
static char in_variable(char letter)
{
    if (letter >= 'a' && letter <= 'z')
        return (char)(letter - 'a' + 'A');
    return letter == '-' ? '_' : letter;
}

/* The value of a variable that is this prefix and this name; NULL for any other. */
static const char *value_if_named(const char *variable, const char *prefix, const char *name)
{
    for (; *prefix; prefix++, variable++)
        if (*variable != *prefix)
            return NULL;
    for (; *name; name++, variable++)
        if (*variable != in_variable(*name))
            return NULL;
    return *variable == '=' ? variable + 1 : NULL;
}

static int64_t handle_named(const char *prefix, const char *name)
{
    for (char **variable = environ; *variable; variable++) {
        const char *value = value_if_named(*variable, prefix, name);
        int64_t handle = 0;

        if (value == NULL)
            continue;
        while (*value >= '0' && *value <= '9')
            handle = handle * 10 + (*value++ - '0');
        return handle;
    }
    return -AERO_ESRCH;
}

int64_t aero_endpoint(const char *name)
{
    return handle_named("AERO_ENDPOINT_", name);
}

int64_t aero_device(const char *name)
{
    return handle_named("AERO_DEVICE_", name);
}
