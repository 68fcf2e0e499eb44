/* A tour of a C library:  libc PART [...]   Each part checks itself and exits 0; `exit N` exits with N.
 *
 * Built with musl and with glibc, at fixed addresses and position-independent. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int failures;

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            printf("WRONG: line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
            failures++;                                                           \
        }                                                                         \
    } while (0)

static int compare(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

static char zeroed[3 << 20]; /* more than one page table's worth of bss */
static __thread int thread_local_number = 17;
static int initialized = 5;
static int *pointer = &initialized; /* a relocation, where position-independent */

static void memory(void)
{
    char *blocks[200];

    for (size_t i = 0; i < sizeof zeroed; i += 512)
        CHECK(zeroed[i] == 0);
    zeroed[sizeof zeroed - 1] = 1;
    CHECK(*pointer == 5 && pointer == &initialized);
    CHECK(thread_local_number == 17);
    thread_local_number++;
    CHECK(thread_local_number == 18);
    for (size_t i = 0; i < 200; i++) {
        size_t size = 1 + i * i * 13; /* up to 515 KB: by brk and by mmap */

        blocks[i] = malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (int)i, size);
    }
    for (size_t i = 0; i < 200; i++) {
        CHECK(blocks[i][0] == (char)i && blocks[i][i * i * 13] == (char)i);
        if (i % 3 == 0) {
            blocks[i] = realloc(blocks[i], 2 * (1 + i * i * 13));
            CHECK(blocks[i] != NULL && blocks[i][i * i * 13] == (char)i);
        }
    }
    for (size_t i = 0; i < 200; i++)
        free(blocks[i]);
    CHECK(malloc((size_t)1 << 46) == NULL && errno == ENOMEM);
}

static void sorting(void)
{
    static int numbers[20000];
    unsigned state = 1;

    for (int i = 0; i < 20000; i++)
        numbers[i] = (int)(state = state * 1664525 + 1013904223);
    qsort(numbers, 20000, sizeof numbers[0], compare);
    for (int i = 1; i < 20000; i++)
        CHECK(numbers[i - 1] <= numbers[i]);
}

static void printing(void)
{
    char text[200];

    int length = snprintf(text, sizeof text, "%d %5.2f %s %x %lld %c %e", -5, 3.14159, "abc", 255, 1LL << 40, 'z', 1e-10);

    CHECK(strcmp(text, "-5  3.14 abc ff 1099511627776 z 1.000000e-10") == 0);
    CHECK(length == (int)strlen(text));
    fprintf(stderr, "to stderr\n");
    CHECK(fflush(stdout) == 0);
}

static jmp_buf place;

static void deep(int depth)
{
    if (depth == 0)
        longjmp(place, 7);
    if (depth > 0)
        deep(depth - 1);
}

static void jumping(void)
{
    volatile int passes = 0;
    int value = setjmp(place);

    passes++;
    if (value == 0)
        deep(20);
    CHECK(value == 7 && passes == 2);
}

static void floating(void)
{
    volatile double x = 2;
    double sum = 0;

    CHECK(fabs(sqrt(x) - 1.4142135623730951) < 1e-15);
    CHECK(fabs(sin(x) - 0.9092974268256817) < 1e-15);
    CHECK(fabs(pow(x, 0.5) * exp(log(x)) - 2.8284271247461903) < 1e-12);
    for (int i = 1; i <= 1000000; i++)
        sum += 1.0 / ((double)i * i);
    CHECK(fabs(sum - 1.6449330668487) < 1e-10);
    CHECK((long double)1 / 3 * 3 == 1.0L);
    CHECK(isinf(x / (x - 2)) && isnan((x - 2) / (x - 2)));
}

static void timing(void)
{
    struct timespec first, second;
    time_t now = time(NULL);
    struct tm *parts = gmtime(&now);

    CHECK(clock_gettime(CLOCK_MONOTONIC, &first) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &second) == 0);
    CHECK(second.tv_sec > first.tv_sec || (second.tv_sec == first.tv_sec && second.tv_nsec >= first.tv_nsec));
    CHECK(parts && parts->tm_year >= 120);
}

/* Needs a directory that may be written. */
static void files(const char *directory)
{
    char path[4096], text[100];
    struct stat status;
    FILE *file;

    snprintf(path, sizeof path, "%s/libc-test-file", directory);
    file = fopen(path, "w");
    CHECK(file != NULL);
    if (!file)
        return;
    for (int i = 0; i < 1000; i++)
        CHECK(fprintf(file, "line %d\n", i) > 0);
    CHECK(fclose(file) == 0);
    CHECK(stat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 8890);
    file = fopen(path, "r+");
    CHECK(file != NULL && fseek(file, -9, SEEK_END) == 0 && fgets(text, sizeof text, file));
    CHECK(strcmp(text, "line 999\n") == 0);
    CHECK(ftell(file) == 8890);
    CHECK(fclose(file) == 0);
    CHECK(unlink(path) == 0);
    CHECK(fopen(path, "r") == NULL && errno == ENOENT);
    CHECK(open("/etc/shadow-of-nothing", O_RDONLY) == -1);
    CHECK(read(99, text, 1) == -1 && errno == EBADF);
}

/* Copies standard input to standard output in capitals. */
static void copying(void)
{
    int byte;

    while ((byte = getchar()) != EOF)
        putchar(byte >= 'a' && byte <= 'z' ? byte - 32 : byte);
}

int main(int argc, char **argv, char **environment)
{
    const char *part = argc > 1 ? argv[1] : "all";
    int all = strcmp(part, "all") == 0;

    if (strcmp(part, "args") == 0) {
        for (int i = 0; i < argc; i++)
            printf("%d=%s\n", i, argv[i]);
        for (char **entry = environment; *entry; entry++)
            printf("env %s\n", *entry);
        return 0;
    }
    if (strcmp(part, "exit") == 0)
        exit(argc > 2 ? atoi(argv[2]) : 0);
    if (strcmp(part, "abort") == 0)
        abort();
    if (strcmp(part, "copy") == 0)
        copying();
    if (strcmp(part, "files") == 0)
        files(argc > 2 ? argv[2] : ".");
    if (all || strcmp(part, "memory") == 0)
        memory();
    if (all || strcmp(part, "sort") == 0)
        sorting();
    if (all || strcmp(part, "print") == 0)
        printing();
    if (all || strcmp(part, "jump") == 0)
        jumping();
    if (all || strcmp(part, "float") == 0)
        floating();
    if (all || strcmp(part, "time") == 0)
        timing();
    if (all)
        printf("libc: %s\n", failures ? "WRONG" : "ok");
    return failures != 0;
}
