/* What Linux programs expect of their kernel beyond files:  linux PART   Each part checks itself and exits 0.
 *
 * Every part also passes on Linux itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static int failures;

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            printf("WRONG: line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
            failures++;                                                             \
        }                                                                           \
    } while (0)

#define PAGE 4096
#define MIB (1 << 20)

/* Memory. */

static sigjmp_buf out;
static void *volatile fault_address;
static volatile int fault_code, fault_signal;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    fault_address = info->si_addr;
    fault_code = info->si_code;
    fault_signal = number;
    siglongjmp(out, 1);
}

static void catch_faults(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
}

static int read_faults(volatile char *p)
{
    if (sigsetjmp(out, 1)) return 1;
    (void)*p;
    return 0;
}

static int write_faults(volatile char *p)
{
    if (sigsetjmp(out, 1)) return 1;
    *p = 1;
    return 0;
}

static char *anonymous(size_t length, int protection)
{
    char *p = mmap(NULL, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    return p;
}

static void memory(void)
{
    size_t length = 32 * MIB;
    char *p, *q, *heap;
    void *blocks[1000];

    catch_faults();
    p = anonymous(length, PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < length; i += PAGE) p[i] = (char)(i >> 12);
    for (size_t i = 0; i < length; i += PAGE)
        if (p[i] != (char)(i >> 12)) CHECK(!"content");

    CHECK(munmap(p + PAGE, PAGE) == 0);
    CHECK(read_faults(p + PAGE) && fault_address == p + PAGE && fault_code == SEGV_MAPERR);
    CHECK(p[0] == 0 && p[2 * PAGE] == 2);
    CHECK(mprotect(p + 3 * MIB, 2 * PAGE, PROT_READ) == 0);
    CHECK(write_faults(p + 3 * MIB + 5) && fault_address == p + 3 * MIB + 5 && fault_code == SEGV_ACCERR);
    CHECK(p[3 * MIB] == (char)(3 * MIB >> 12) && !write_faults(p + 3 * MIB + 2 * PAGE));
    CHECK(mprotect(p + 3 * MIB, 2 * PAGE, PROT_NONE) == 0 && read_faults(p + 3 * MIB));
    CHECK(mprotect(p + 3 * MIB, 2 * PAGE, PROT_READ) == 0 && p[3 * MIB] == (char)(3 * MIB >> 12));

    CHECK(madvise(p + 4 * MIB, MIB, MADV_DONTNEED) == 0);
    CHECK(p[4 * MIB] == 0 && p[5 * MIB - PAGE] == 0 && p[5 * MIB] == (char)(5 * MIB >> 12));
    CHECK(madvise(p + 8 * MIB, 4 * MIB, MADV_DONTNEED) == 0);
    CHECK(p[8 * MIB] == 0 && p[12 * MIB] == (char)(12 * MIB >> 12));

    q = mremap(p + 16 * MIB, 8 * MIB, 24 * MIB, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && read_faults(p + 16 * MIB));
    CHECK(q[PAGE] == 1 && q[8 * MIB] == 0);
    CHECK(munmap(p, length) == 0 && read_faults(p) && munmap(q, 24 * MIB) == 0);

    p = anonymous(64 * PAGE, PROT_NONE);
    CHECK(read_faults(p));
    CHECK(mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0 && !write_faults(p + PAGE) && read_faults(p));
    CHECK(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p && p[0] == 0);

    CHECK(read_faults(NULL) && fault_address == NULL);
    CHECK(read_faults((char *)0xffff800000000000));
    CHECK(read_faults((char *)0x7fffffffffff));

    /* The break, behind the C library's back and as it was. */
    heap = (char *)syscall(SYS_brk, 0);
    CHECK(syscall(SYS_brk, heap + 300000) == (long)heap + 300000);
    memset(heap, 1, 300000);
    CHECK(syscall(SYS_brk, heap) == (long)heap && syscall(SYS_brk, heap + 300000) == (long)heap + 300000);
    CHECK(heap[100000] == 0 && heap[299999] == 0);
    CHECK(syscall(SYS_brk, heap) == (long)heap);

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            size_t size = (size_t)(i * 37 % 1000) * (i % 50 ? 10 : 900) + 1;

            blocks[i] = malloc(size);
            CHECK(blocks[i] != NULL);
            memset(blocks[i], i, size);
        }
        for (int i = 0; i < 1000; i++) {
            CHECK(*(char *)blocks[i] == (char)i);
            free(blocks[i]);
        }
    }
}

static int recurse(int depth)
{
    volatile char frame[PAGE];

    frame[0] = frame[PAGE - 1] = (char)depth;
    return depth ? recurse(depth - 1) + frame[0] - (char)depth : 0;
}

static void stack(void)
{
    static char other[64 << 10];
    stack_t alternate = {.ss_sp = other, .ss_size = sizeof other};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

    CHECK(recurse(1500) == 0); /* 6 MiB */
    CHECK(sigaltstack(&alternate, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
    if (sigsetjmp(out, 1) == 0) {
        recurse(1 << 20);
        CHECK(!"the stack has an end");
    }
    CHECK(recurse(1000) == 0);
}

static void file_mappings(void)
{
    char name[] = "mapped", *p, *shared, page[PAGE];
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

    catch_faults();
    for (int i = 0; i < 600; i++) {
        memset(page, i, PAGE);
        CHECK(write(fd, page, PAGE) == PAGE);
    }
    CHECK(write(fd, "end", 3) == 3);
    p = mmap(NULL, 700 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED);
    for (int i = 0; i < 600; i++) CHECK(p[i * PAGE + 7] == (char)i);
    CHECK(memcmp(p + 600 * PAGE, "end\0\0", 5) == 0);
    CHECK(read_faults(p + 601 * PAGE) && fault_signal == SIGBUS);
    p[0] = 'x';
    shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 5 * PAGE);
    CHECK(shared != MAP_FAILED && shared[9] == 5);
    close(fd);
    memcpy(shared, "shared", 6);
    CHECK(msync(shared, PAGE, MS_SYNC) == 0);
    CHECK(munmap(shared, PAGE) == 0 && munmap(p, 700 * PAGE) == 0);
    fd = open(name, O_RDONLY);
    CHECK(pread(fd, page, 8, 0) == 8 && page[0] == 0);
    CHECK(pread(fd, page, 8, 5 * PAGE) == 8 && memcmp(page, "shared\5\5", 8) == 0);
    CHECK(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
    close(fd);
    CHECK(unlink(name) == 0);
}

/* Threads. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long counter;
static int turn;
static __thread int own;

static void *count(void *argument)
{
    own = (int)(intptr_t)argument;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
    }
    return (void *)(intptr_t)(own * 3);
}

static void *ping(void *argument)
{
    int me = (int)(intptr_t)argument;

    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me) pthread_cond_wait(&changed, &lock);
        turn = 1 - me;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static pthread_barrier_t barrier;
static sem_t semaphore;
static int serial;

static void *meet(void *unused)
{
    for (int i = 0; i < 5; i++)
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) __sync_fetch_and_add(&serial, 1);
    sem_post(&semaphore);
    return unused;
}

static void *meet_once(void *unused)
{
    sem_post(&semaphore);
    return unused;
}

static pthread_mutex_t robust;

static void *die_locked(void *unused)
{
    pthread_mutex_lock(&robust);
    return unused;
}

static void *sleeper(void *unused)
{
    for (;;) pause();
    return unused;
}

static void threads(void)
{
    pthread_t made[8];
    void *result;
    struct timespec soon;
    pthread_mutexattr_t attributes;

    own = 99;
    for (intptr_t i = 0; i < 8; i++) CHECK(pthread_create(&made[i], NULL, count, (void *)i) == 0);
    for (intptr_t i = 0; i < 8; i++) CHECK(pthread_join(made[i], &result) == 0 && result == (void *)(i * 3));
    CHECK(counter == 16000 && own == 99);

    for (intptr_t i = 0; i < 2; i++) CHECK(pthread_create(&made[i], NULL, ping, (void *)i) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_join(made[i], NULL) == 0);

    CHECK(pthread_barrier_init(&barrier, NULL, 4) == 0 && sem_init(&semaphore, 0, 0) == 0);
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&made[i], NULL, meet, NULL) == 0);
    for (int i = 0; i < 4; i++) CHECK(sem_wait(&semaphore) == 0);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(made[i], NULL) == 0);
    CHECK(serial == 5);

    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 20000000;
    if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000;
    pthread_mutex_lock(&lock);
    CHECK(pthread_cond_timedwait(&changed, &lock, &soon) == ETIMEDOUT);
    pthread_mutex_unlock(&lock);
    CHECK(sem_timedwait(&semaphore, &soon) == -1 && errno == ETIMEDOUT);

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    CHECK(pthread_create(&made[0], NULL, die_locked, NULL) == 0 && pthread_join(made[0], NULL) == 0);
    CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD && pthread_mutex_consistent(&robust) == 0);
    CHECK(pthread_mutex_unlock(&robust) == 0);

    CHECK(pthread_create(&made[0], NULL, sleeper, NULL) == 0);
    CHECK(pthread_cancel(made[0]) == 0 && pthread_join(made[0], &result) == 0 && result == PTHREAD_CANCELED);

    for (int i = 0; i < 50; i++) CHECK(pthread_create(&made[0], NULL, meet_once, NULL) == 0 && pthread_detach(made[0]) == 0);
    for (int i = 0; i < 50; i++) CHECK(sem_wait(&semaphore) == 0);
}

/* Signals. */

static volatile sig_atomic_t seen, order[8], order_length;

static void note(int number)
{
    seen++;
    if (order_length < 8) order[order_length++] = number;
}

static void skip_instruction(int number, siginfo_t *info, void *context)
{
    ucontext_t *state = context;

    CHECK(number == fault_signal || fault_signal == 0);
    fault_code = info->si_code;
    fault_address = info->si_addr;
    state->uc_mcontext.gregs[REG_RIP] += (greg_t)state->uc_mcontext.gregs[REG_R15];
    seen++;
}

static void *signal_main(void *target)
{
    usleep(30000);
    pthread_kill(*(pthread_t *)target, SIGUSR1);
    return NULL;
}

static void set_handler(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    CHECK(sigaction(number, &action, NULL) == 0);
}

static void signals(void)
{
    struct sigaction skip = {.sa_sigaction = skip_instruction, .sa_flags = SA_SIGINFO};
    struct timespec second = {1, 0}, left, none = {0, 0};
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    sigset_t set, old;
    siginfo_t info;
    int pair[2];
    char byte;
    pthread_t helper, self = pthread_self();
    double sum = 0, expected = 0;

    set_handler(SIGUSR1, note, 0);
    set_handler(SIGUSR2, note, 0);
    CHECK(raise(SIGUSR1) == 0 && seen == 1);
    CHECK(kill(getpid(), SIGUSR1) == 0 && seen == 2);
    CHECK(pthread_kill(self, SIGUSR2) == 0 && seen == 3);
    CHECK(kill(getpid(), 0) == 0 && kill(999999, 0) == -1 && errno == ESRCH);

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
    raise(SIGUSR2), raise(SIGUSR1), raise(SIGUSR1);
    CHECK(seen == 3 && sigpending(&set) == 0 && sigismember(&set, SIGUSR1) && sigismember(&set, SIGUSR2));
    CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0 && seen == 5);

    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && raise(SIGUSR1) == 0);
    CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_signo == SIGUSR1 && info.si_pid == getpid());
    CHECK(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN);
    CHECK(pthread_create(&helper, NULL, signal_main, &self) == 0);
    CHECK(sigsuspend(&old) == -1 && errno == EINTR && seen == 6);
    CHECK(pthread_join(helper, NULL) == 0 && sigprocmask(SIG_SETMASK, &old, NULL) == 0);

    /* A blocked call ends, or begins again. */
    CHECK(pthread_create(&helper, NULL, signal_main, &self) == 0);
    CHECK(nanosleep(&second, &left) == -1 && errno == EINTR && left.tv_sec == 0 && left.tv_nsec > 100000000);
    pthread_join(helper, NULL);
    CHECK(pipe(pair) == 0 && pthread_create(&helper, NULL, signal_main, &self) == 0);
    CHECK(read(pair[0], &byte, 1) == -1 && errno == EINTR);
    pthread_join(helper, NULL);
    set_handler(SIGUSR1, note, SA_RESTART);
    set_handler(SIGALRM, note, 0);
    CHECK(pthread_create(&helper, NULL, signal_main, &self) == 0);
    seen = 0;
    alarm(1);
    CHECK(read(pair[0], &byte, 1) == -1 && errno == EINTR && seen == 2); /* begun again once, ended by the alarm */
    pthread_join(helper, NULL);
    set_handler(SIGPIPE, note, 0);
    close(pair[0]);
    seen = 0;
    CHECK(write(pair[1], "x", 1) == -1 && errno == EPIPE && seen == 1);

    /* The timer reaches a program that makes no calls, and spares its floating-point registers. */
    seen = 0;
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (long i = 1; seen < 5; i++) {
        double x = (double)i * 0.5;

        sum += x / 3 - x / 7;
        expected += x / 3 - x / 7;
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0 && sum == expected);

    /* Faults: the handler decides where to go on. */
    sigaction(SIGSEGV, &skip, NULL);
    sigaction(SIGILL, &skip, NULL);
    sigaction(SIGFPE, &skip, NULL);
    sigaction(SIGTRAP, &skip, NULL);
    seen = 0;
    fault_signal = SIGSEGV;
    __asm__ volatile("mov $2, %%r15\n\tmovb (%0), %%al" : : "r"(0x123456L) : "rax", "r15", "memory");
    CHECK(seen == 1 && fault_address == (void *)0x123456 && fault_code == SEGV_MAPERR);
    __asm__ volatile("mov $1, %%r15\n\thlt" : : : "r15", "memory");
    CHECK(seen == 2);
    fault_signal = SIGILL;
    __asm__ volatile("mov $2, %%r15\n\tud2" : : : "r15", "memory");
    CHECK(seen == 3);
    fault_signal = SIGFPE;
    __asm__ volatile("mov $2, %%r15\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tmov $1, %%eax\n\tdiv %%ecx"
                     : : : "rax", "rcx", "rdx", "r15", "memory");
    CHECK(seen == 4 && fault_code == FPE_INTDIV);
    fault_signal = SIGTRAP;
    __asm__ volatile("mov $0, %%r15\n\tint3" : : : "r15", "memory");
    CHECK(seen == 5);
}

/* Handlers and the extended registers. */

static volatile sig_atomic_t rounds;

static void spoil(int number)
{
    double zero[8] = {0};

    (void)number;
    __asm__ volatile("movups (%0), %%xmm0\n\tmovups (%0), %%xmm7\n\tmovups (%0), %%xmm15"
                     : : "r"(zero) : "xmm0", "xmm7", "xmm15");
    rounds++;
}

static void registers(void)
{
    struct itimerval often = {{0, 2000}, {0, 2000}};
    uint64_t in[2] = {0x1122334455667788, 0x99aabbccddeeff00}, x0[2], x7[2], x15[2];
    uint64_t rcx, r11;

    set_handler(SIGALRM, spoil, 0);
    setitimer(ITIMER_REAL, &often, NULL);
    /* Nothing but this loop runs; whatever differs behind it, a handler has changed. */
    __asm__ volatile(
        "movups (%[in]), %%xmm0\n\tmovups (%[in]), %%xmm7\n\tmovups (%[in]), %%xmm15\n\t"
        "mov $0x1234567, %%rcx\n\tmov $0x7654321, %%r11\n"
        "1:\tpause\n\tcmpl $5, %[rounds]\n\tjl 1b\n\t"
        "movups %%xmm0, (%[x0])\n\tmovups %%xmm7, (%[x7])\n\tmovups %%xmm15, (%[x15])\n\t"
        "mov %%rcx, %%rax\n\tmov %%r11, %%rdx"
        : "=&a"(rcx), "=&d"(r11)
        : [in] "r"(in), [x0] "r"(x0), [x7] "r"(x7), [x15] "r"(x15), [rounds] "m"(rounds)
        : "xmm0", "xmm7", "xmm15", "rcx", "r11", "memory", "cc");
    CHECK(memcmp(in, x0, 16) == 0 && memcmp(in, x7, 16) == 0 && memcmp(in, x15, 16) == 0);
    CHECK(rcx == 0x1234567 && r11 == 0x7654321);
}

/* Waiting. */

static void *feed(void *argument)
{
    int *pair = argument;

    usleep(20000);
    CHECK(write(pair[1], "hello", 5) == 5);
    return NULL;
}

static void *drain(void *argument)
{
    int *pair = argument;
    char buffer[4096];
    intptr_t all = 0;
    ssize_t got;

    usleep(20000);
    while ((got = read(pair[0], buffer, sizeof buffer)) > 0) all += got;
    return (void *)all;
}

static void waiting(void)
{
    static char big[300000];
    int pair[2], other[2], event, timer, set;
    struct pollfd fds[2];
    struct timeval moment = {0, 20000};
    struct timespec pause = {0, 30000000}, before, after;
    struct itimerspec tick = {{0, 0}, {0, 20000000}};
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 42}, got[4];
    fd_set readable;
    char buffer[16];
    uint64_t value = 7;
    void *drained;
    pthread_t helper;

    CHECK(pipe2(pair, O_CLOEXEC) == 0 && pipe(other) == 0);
    fds[0] = (struct pollfd){pair[0], POLLIN, 0}, fds[1] = (struct pollfd){other[1], POLLIN, 0};
    CHECK(poll(fds, 2, 0) == 0 && poll(fds, 2, 20) == 0);
    CHECK(pthread_create(&helper, NULL, feed, pair) == 0);
    CHECK(poll(fds, 2, 5000) == 1 && fds[0].revents == POLLIN && fds[1].revents == 0);
    CHECK(read(pair[0], buffer, 16) == 5);
    pthread_join(helper, NULL);
    FD_ZERO(&readable);
    FD_SET(pair[0], &readable);
    CHECK(select(pair[0] + 1, &readable, NULL, NULL, &moment) == 0 && !FD_ISSET(pair[0], &readable));
    CHECK(pthread_create(&helper, NULL, feed, pair) == 0);
    CHECK(read(pair[0], buffer, 16) == 5); /* blocks */
    pthread_join(helper, NULL);

    event = eventfd(0, EFD_NONBLOCK), timer = timerfd_create(CLOCK_MONOTONIC, 0), set = epoll_create1(0);
    CHECK(event >= 0 && timer >= 0 && set >= 0);
    CHECK(read(event, &value, 8) == -1 && errno == EAGAIN);
    CHECK(epoll_ctl(set, EPOLL_CTL_ADD, event, &wanted) == 0);
    wanted.data.u64 = 43;
    CHECK(epoll_ctl(set, EPOLL_CTL_ADD, timer, &wanted) == 0);
    CHECK(epoll_wait(set, got, 4, 0) == 0 && timerfd_settime(timer, 0, &tick, NULL) == 0);
    CHECK(epoll_wait(set, got, 4, 5000) == 1 && got[0].data.u64 == 43);
    CHECK(read(timer, &value, 8) == 8 && value == 1);
    value = 7;
    CHECK(write(event, &value, 8) == 8 && epoll_wait(set, got, 4, -1) == 1 && got[0].data.u64 == 42);
    CHECK(read(event, &value, 8) == 8 && value == 7);
    CHECK(epoll_ctl(set, EPOLL_CTL_DEL, event, NULL) == 0 && close(event) == 0);

    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK(nanosleep(&pause, NULL) == 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 30000000);

    /* A write larger than the pipe waits until it is read. */
    CHECK(pthread_create(&helper, NULL, drain, pair) == 0);
    CHECK(write(pair[1], big, sizeof big) == sizeof big && close(pair[1]) == 0);
    CHECK(pthread_join(helper, &drained) == 0 && drained == (void *)sizeof big);
}

static void deadlock(void)
{
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {
        {"memory", memory}, {"stack", stack}, {"file_mappings", file_mappings}, {"threads", threads},
        {"signals", signals}, {"registers", registers}, {"waiting", waiting}, {"abort", abort}, {"deadlock", deadlock},
    };

    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof *parts; i++)
        if (strcmp(argv[1], parts[i].name) == 0) {
            parts[i].run();
            if (!failures) puts("right");
            return failures != 0;
        }
    return 2;
}
