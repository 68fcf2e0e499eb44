/* Memory calls of Linux that take long, and what others do meanwhile:  long_linux MODE [PAGES]
 *
 *   others   one thread takes PAGES pages away in one call, protects and discards them; of two others one goes on making
 *            calls, the other maps, touches and unmaps memory of its own
 *   hold     PAGES pages are mapped, a line printed, and all taken away and mapped again for ever: to be killed */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096UL
#define AREA ((char *)0x300000000000UL)
#define PIECE 256UL /* pages: half a block, so that each is mapped by an entry of its own */

static unsigned long pages;
static volatile unsigned long stop, calls[2];

static void must(const char *what, int done)
{
    if (!done) {
        perror(what);
        exit(1);
    }
}

static void map_all(void)
{
    for (unsigned long page = 0; page < pages; page += PIECE) {
        char *at = AREA + page * PAGE;
        must("mmap", mmap(at, PIECE * PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0) == at);
        at[PAGE] = 1;
    }
}

static void unmap_all(void)
{
    must("munmap", munmap(AREA, pages * PAGE) == 0);
}

static void *call_on(void *unused)
{
    (void)unused;
    for (; !stop; calls[0]++)
        syscall(SYS_getppid);
    return NULL;
}

static void *use_memory(void *unused)
{
    (void)unused;
    for (; !stop; calls[1]++) {
        char *own = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must("mmap of its own", own != MAP_FAILED);
        for (unsigned long i = 0; i < 16 * PAGE; i += 512)
            if (own[i]) must("zeroed memory", 0);
        memset(own, 7, 16 * PAGE);
        must("munmap of its own", munmap(own, 16 * PAGE) == 0);
    }
    return NULL;
}

static void others(void)
{
    unsigned long made[2] = {0, 0};
    pthread_t threads[2];

    must("thread", pthread_create(&threads[0], NULL, call_on, NULL) == 0);
    must("thread", pthread_create(&threads[1], NULL, use_memory, NULL) == 0);
    /* Again and again until both have: how much happens during one call is up to the machine. */
    do {
        unsigned long before[2];
        map_all();
        for (int i = 0; i < 2; i++) before[i] = calls[i];
        must("mprotect", mprotect(AREA, pages * PAGE, PROT_READ) == 0);
        must("what it held", AREA[PAGE] == 1);
        must("madvise", madvise(AREA, pages / 2 * PAGE, MADV_DONTNEED) == 0);
        must("what was discarded", AREA[PAGE] == 0 && AREA[(pages - PIECE + 1) * PAGE] == 1);
        unmap_all();
        for (int i = 0; i < 2; i++) made[i] += calls[i] - before[i];
    } while (made[0] < 100 || made[1] < 3);
    stop = 1;
    for (int i = 0; i < 2; i++)
        must("join", pthread_join(threads[i], NULL) == 0);
    puts("long_linux: ok");
}

int main(int argc, char **argv)
{
    pages = (argc > 2 ? strtoul(argv[2], NULL, 10) : 8192) & -PIECE;
    if (argc > 1 && strcmp(argv[1], "others") == 0) {
        others();
        return 0;
    }
    map_all();
    puts("mapped");
    fflush(stdout);
    for (;; map_all())
        unmap_all();
}
