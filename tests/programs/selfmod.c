/* Code that changes under the program: stale translations of instructions would show as an old result.
 *
 * First in a page that is writable and executable, then in one that is written and executed in turn through mprotect,
 * then in one that is unmapped and mapped again at the same address, then written by one thread and run by another. */
#include "check.h"

#define AREA 0x500000000UL
#define ROUNDS 200

/* mov $value, %eax; ret */
static void write_code(uint64_t address, uint32_t value)
{
    volatile uint8_t *code = (uint8_t *)address;

    code[0] = 0xb8;
    for (int i = 0; i < 4; i++)
        code[1 + i] = (uint8_t)(value >> 8 * i);
    code[5] = 0xc3;
}

static uint32_t run_code(uint64_t address)
{
    /* A processor may hold the old bytes until a serializing instruction (Intel SDM volume 3, 9.1.3). */
    uint32_t a = 0, b, c = 0, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
    return ((uint32_t(*)(void))address)();
}

static volatile uint32_t written, ran;

static int runner(void *argument)
{
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        while (written != round)
            aero_thread_yield();
        if (run_code((uint64_t)argument) != round)
            return 1;
        ran = round;
    }
    return 0;
}

int main(void)
{
    const uint64_t all = AERO_READ | AERO_WRITE | AERO_EXECUTE;
    struct aero_thread thread;

    must("mmap", aero_mmap(AREA, AERO_PAGE_SIZE, all));
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        write_code(AREA + 16, round);
        expect("code in a writable page", run_code(AREA + 16), round);
    }
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
        write_code(AREA + 16, ~round);
        must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_EXECUTE));
        expect("code written and executed in turn", run_code(AREA + 16), ~round);
    }
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        must("munmap", aero_munmap(AREA, AERO_PAGE_SIZE));
        must("mmap", aero_mmap(AREA, AERO_PAGE_SIZE, all));
        write_code(AREA + 16, round * 7);
        expect("code in a new page at the old address", run_code(AREA + 16), round * 7);
    }
    must("aero_thread_spawn", aero_thread_spawn(&thread, runner, (void *)(AREA + 64)));
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        write_code(AREA + 64, round);
        written = round;
        for (uint32_t tries = 0; ran != round && tries < 100000; tries++)
            aero_thread_yield();
        if (ran != round)
            break;
    }
    expect_true("code written by another thread was run each time", ran == ROUNDS);
    if (ran == ROUNDS)
        expect("the other thread's status", aero_thread_wait(&thread), 0);
    return verdict("selfmod");
}
