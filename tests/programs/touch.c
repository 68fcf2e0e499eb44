/* First touch of memory, page by page:  touch [MIB] [linux|native]
 *
 * Prints the nanoseconds a 4 KiB page took, by the monotonic clock.  The memory comes from Linux's mmap, so that the
 * same program measures outside, or from the native call. */
#include <aero.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define AREA 0x200000000UL

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argc, char **argv)
{
    size_t size = (argc > 1 ? strtoul(argv[1], NULL, 10) : 256) << 20;
    int native = argc > 2 && strcmp(argv[2], "native") == 0;
    double start = now();
    volatile char *memory;
    double took;

    if (native) {
        if (aero_mmap(AREA, size, AERO_READ | AERO_WRITE)) {
            fprintf(stderr, "no memory\n");
            return 1;
        }
        memory = (char *)AREA;
    } else {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            perror("mmap");
            return 1;
        }
    }
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = 1;
    took = now() - start;
    for (size_t at = 0; at < size; at += 4096)
        if (memory[at] != 1 || memory[at + 8]) {
            fprintf(stderr, "page %zu is wrong\n", at / 4096);
            return 1;
        }
    printf("%.1f\n", took / (double)(size / 4096));
    return 0;
}
