/* A line of text that is put together from words and numbers: no C library is needed. */
#ifndef LINE_H
#define LINE_H

#include <stdint.h>

#include "device.h"

struct line {
    unsigned length;
    char text[200]; /* ends with 0; what does not fit is left out */
};

static inline void line_text(struct line *line, const char *text)
{
    while (*text && line->length < sizeof line->text - 1)
        line->text[line->length++] = *text++;
    line->text[line->length] = 0;
}

/* In a base of 2 to 16, with zeroes in front up to `digits`. */
static inline void line_number(struct line *line, uint64_t number, unsigned base, unsigned digits)
{
    char text[65];
    unsigned at = sizeof text - 1;

    text[at] = 0;
    do
        text[--at] = "0123456789abcdef"[number % base];
    while (number /= base);
    while (at && sizeof text - 1 - at < digits)
        text[--at] = '0';
    line_text(line, text + at);
}

static inline void line_decimal(struct line *line, const char *before, uint64_t number)
{
    line_text(line, before);
    line_number(line, number, 10, 1);
}

/* Says what failed, and with which error (negative); 1, for a program to end with. */
static inline int say_failed(const char *what, int result)
{
    struct line line = {0};

    line_text(&line, what);
    line_decimal(&line, ": error ", (uint64_t)-result);
    device_say(line.text);
    return 1;
}

/* Whether two texts are the same. */
static inline int text_is(const char *one, const char *other)
{
    for (; *one && *one == *other; one++, other++) {
    }
    return *one == *other;
}

/* A decimal number; *valid becomes 0 where it is none. */
static inline uint64_t text_number(const char *text, int *valid)
{
    uint64_t number = 0;

    if (!*text)
        *valid = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || number > UINT64_MAX / 16) {
            *valid = 0;
            return 0;
        }
        number = number * 10 + (uint64_t)(*text - '0');
    }
    return number;
}

#endif
