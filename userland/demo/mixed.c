/* Both ABIs in one program: a stock musl for printf and malloc, native calls for memory at an address of our choice.
 * Runs where the container has the Linux personality, as what `aerostat run` starts has. */
#include <aero.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AREA 0x700000000UL

int main(int argc, char **argv)
{
    int64_t result = aero_mmap(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE);
    char *native = (char *)AREA;
    char *heap = malloc(100000);

    if (aero_failed(result) || !heap) {
        fprintf(stderr, "no memory: %s\n", strerror((int)-result));
        return 1;
    }
    snprintf(native, AERO_PAGE_SIZE, "%s got %d argument%s", argv[0], argc - 1, argc == 2 ? "" : "s");
    memset(heap, 'x', 99999);
    heap[99999] = 0;
    printf("native page at %p: %s\n", (void *)native, native);
    printf("heap: %zu bytes; 2/3 is %.4f; aero_null() is %lld\n", strlen(heap), 2.0 / 3, (long long)aero_null());
    free(heap);
    return aero_munmap(AREA, AERO_PAGE_SIZE) != 0;
}
