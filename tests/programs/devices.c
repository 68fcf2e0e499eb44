/* Drives the board of tests/aerostat/board.py:  devices SCENE
 *
 * Region 0: page 0 is trapped, pages 1 and 2 are memory, page 3 is trapped and ends in its middle.  Region 2: memory. */
#include "scenes.h"

enum {
    IDENTITY = 0x00,
    SCRATCH = 0x08,
    ADDRESS = 0x10,
    VALUE = 0x18,
    COMMAND = 0x20, /* 1: store VALUE at ADDRESS, 2: load it from there, 3: fill the page at ADDRESS with VALUE's byte */
    FAULTS = 0x28,
    INTERRUPT = 0x30, /* the vector to interrupt by */
    ACCESSES = 0x38,
};
#define BOARD 0x626f617264UL
#define ALL_ONES (~0UL)
#define REGISTERS 0x100000000UL
#define MEMORY 0x200000000UL
#define IOVA 0x40000000UL
#define READ_WRITE (AERO_READ | AERO_WRITE)

static volatile uint8_t *const page = (volatile uint8_t *)REGISTERS;

static volatile uint64_t *reg(uint64_t offset) { return (volatile uint64_t *)(page + offset); }

static aero_handle board(void) { return (aero_handle)must("aero_device", aero_device("board")); }

static void map_registers(aero_handle device)
{
    must("device_map", aero_device_map(device, 0, 0, REGISTERS, 4 * AERO_PAGE_SIZE, READ_WRITE));
}

static void map_memory(uint64_t pages) { must("mmap", aero_mmap(MEMORY, pages * AERO_PAGE_SIZE, READ_WRITE)); }

static aero_handle attached(aero_handle device)
{
    aero_handle domain = (aero_handle)must("domain_create", aero_domain_create());

    must("device_attach", aero_device_attach(device, domain));
    return domain;
}

/* An endpoint at which nobody but a device can be heard. */
static aero_handle deaf_to_programs(void)
{
    aero_handle both = new_endpoint(), endpoint = copy(both, AERO_RECEIVE, 0);

    must("handle_close", aero_handle_close(both));
    return endpoint;
}

static void command(uint64_t address, uint64_t value, uint64_t what)
{
    *reg(ADDRESS) = address;
    *reg(VALUE) = value;
    *reg(COMMAND) = what;
}

/* --- Registers --- */

static void registers(void)
{
    aero_handle device = board();

    map_registers(device);
    expect("a register", (int64_t)*reg(IDENTITY), BOARD);
    *reg(SCRATCH) = 0x1122334455667788UL;
    expect("8 bytes", (int64_t)*reg(SCRATCH), 0x1122334455667788L);
    expect("4 bytes", *(volatile uint32_t *)(page + SCRATCH + 4), 0x11223344);
    expect("2 bytes", *(volatile uint16_t *)(page + SCRATCH + 2), 0x5566);
    expect("1 byte", *(volatile uint8_t *)(page + SCRATCH), 0x88);
    *(volatile uint8_t *)(page + SCRATCH + 7) = 0xab;
    *(volatile uint16_t *)(page + SCRATCH) = 0xcdef;
    expect("1 and 2 bytes stored", (int64_t)*reg(SCRATCH), (int64_t)0xab2233445566cdefUL);
    expect("beyond the region's end", (int64_t)*reg(3 * AERO_PAGE_SIZE + 2048), (int64_t)ALL_ONES);
    expect("before it", (int64_t)*reg(3 * AERO_PAGE_SIZE + 2040), 0);

    /* Memory of the device: what the host has put there, and what it will find. */
    expect("device memory", (int64_t)*reg(AERO_PAGE_SIZE), 0x5eed);
    *reg(AERO_PAGE_SIZE + 8) = 0xfeed;
    *reg(2 * AERO_PAGE_SIZE + 4088) = 0xbeef;
    uint64_t before = *reg(ACCESSES);
    for (int i = 0; i < 1000; i++)
        *reg(AERO_PAGE_SIZE + 16) = *reg(AERO_PAGE_SIZE + 16) + 1;
    expect("it is reached without the device", (int64_t)(*reg(ACCESSES) - before), 1);
    expect("and holds what was stored", (int64_t)*reg(AERO_PAGE_SIZE + 16), 1000);
}

static void info(void)
{
    aero_handle device = board();

    expect("identity", aero_device_info(device, AERO_DEVICE_IDENTITY), 0x5678abcd);
    expect("class", aero_device_info(device, AERO_DEVICE_CLASS), 0xff0000);
    expect("regions", aero_device_info(device, AERO_DEVICE_REGIONS), 3);
    expect("vectors", aero_device_info(device, AERO_DEVICE_VECTORS), 2);
    expect("region 0", aero_device_info(device, AERO_DEVICE_REGION_SIZE), 0x3800);
    expect("region 1", aero_device_info(device, AERO_DEVICE_REGION_SIZE + 1), 0);
    expect("region 2", aero_device_info(device, AERO_DEVICE_REGION_SIZE + 2), 65 << 12);
    expect("region 3", aero_device_info(device, AERO_DEVICE_REGION_SIZE + 3), -AERO_EINVAL);
    expect("vector 2", aero_device_info(device, AERO_DEVICE_INTERRUPTS + 2), -AERO_EINVAL);
    expect("another number", aero_device_info(device, 4), -AERO_EINVAL);
    expect("a higher one", aero_device_info(device, 3UL << 32), -AERO_EINVAL);
}

/* What was registers is memory again at once, and so is the address. */
static void unmap(void)
{
    aero_handle device = board();

    for (int round = 0; round < 20; round++) {
        uint64_t offset = round % 2 ? AERO_PAGE_SIZE : 0; /* device memory, or trapped */

        must("device_map", aero_device_map(device, 0, offset, REGISTERS, AERO_PAGE_SIZE, READ_WRITE));
        expect_true("registers are there", *reg(0) == (round % 2 ? 0x5eedUL : BOARD));
        must("munmap", aero_munmap(REGISTERS, AERO_PAGE_SIZE));
        must("mmap", aero_mmap(REGISTERS, AERO_PAGE_SIZE, READ_WRITE));
        expect("memory is zero", (int64_t)*reg(0), 0);
        *reg(SCRATCH) = 7;
        expect("and is memory", (int64_t)*reg(SCRATCH), 7);
        must("munmap", aero_munmap(REGISTERS, AERO_PAGE_SIZE));
    }
    map_registers(device);
    expect("the device did not see that", (int64_t)*reg(SCRATCH), 0);
    must("munmap", aero_munmap(REGISTERS + AERO_PAGE_SIZE, AERO_PAGE_SIZE));
    expect("those beside stay", (int64_t)*reg(IDENTITY), BOARD);
    expect("device memory as well", (int64_t)*reg(2 * AERO_PAGE_SIZE), 0);
    must("device_map in the gap", aero_device_map(device, 0, 0, REGISTERS + AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ));
    expect("at another address", (int64_t)*reg(AERO_PAGE_SIZE), BOARD);
}

/* --- Faults: each of these ends the program --- */

static void store_read_only(void)
{
    must("device_map", aero_device_map(board(), 0, 0, REGISTERS, AERO_PAGE_SIZE, AERO_READ));
    expect("it can be read", (int64_t)*reg(IDENTITY), BOARD);
    *reg(SCRATCH) = 1;
}

static void store_protected(void)
{
    map_registers(board());
    *reg(AERO_PAGE_SIZE) = 1;
    must("mprotect", aero_mprotect(REGISTERS + AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ));
    expect("it can be read", (int64_t)*reg(AERO_PAGE_SIZE), 1);
    *reg(AERO_PAGE_SIZE) = 2;
}

static void load_unmapped(void)
{
    map_registers(board());
    expect("it is there", (int64_t)*reg(IDENTITY), BOARD);
    must("munmap", aero_munmap(REGISTERS, 4 * AERO_PAGE_SIZE));
    expect("it is not", (int64_t)*reg(IDENTITY), 0);
}

static void execute(void)
{
    map_registers(board());
    must("mprotect", aero_mprotect(REGISTERS, 4 * AERO_PAGE_SIZE, AERO_READ | AERO_WRITE | AERO_EXECUTE));
    page[AERO_PAGE_SIZE] = 0xc3; /* ret */
    ((void (*)(void))(REGISTERS + AERO_PAGE_SIZE))();
}

/* What the processor can do with memory, and its emulation for registers cannot. */
static void odd_instruction(void)
{
    static uint8_t area[4096] __attribute__((aligned(64)));

    map_registers(board());
    __asm__ volatile("fxsave (%0); fxrstor (%1)" : : "r"(page), "r"(area) : "memory");
}

/* --- Memory --- */

static void dma(void)
{
    aero_handle device = board();
    volatile uint64_t *memory = (volatile uint64_t *)MEMORY;

    map_registers(device);
    map_memory(2);
    command(IOVA, 1, 1);
    expect("without a domain it reaches nothing", (int64_t)*reg(FAULTS), 1);
    aero_handle domain = attached(device);
    command(IOVA, 1, 1);
    expect("nor in an empty one", (int64_t)*reg(FAULTS), 2);
    must("domain_map", aero_domain_map(domain, MEMORY, AERO_PAGE_SIZE, IOVA, READ_WRITE));
    must("domain_map", aero_domain_map(domain, MEMORY + AERO_PAGE_SIZE, AERO_PAGE_SIZE, IOVA + (1UL << 30), AERO_READ));
    command(IOVA + 8, 0xcafe, 1);
    expect("it stores", (int64_t)memory[1], 0xcafe);
    memory[512] = 0xd00d;
    command(IOVA + (1UL << 30), 0, 2);
    expect("it loads", (int64_t)*reg(VALUE), 0xd00d);
    command(IOVA + (1UL << 30), 1, 1);
    expect("what it may only read stays", (int64_t)memory[512], 0xd00d);
    command(MEMORY, 1, 1);
    expect("it knows no other addresses", (int64_t)*reg(FAULTS), 4);
    must("domain_unmap", aero_domain_unmap(domain, IOVA, AERO_PAGE_SIZE));
    command(IOVA + 8, 0xbad, 1);
    expect("nor what was taken from it", (int64_t)memory[1], 0xcafe);
    must("device_detach", aero_device_detach(device));
    command(IOVA + (1UL << 30), 0, 2);
    expect("nor anything without a domain", (int64_t)*reg(FAULTS), 6);
    must("device_attach", aero_device_attach(device, domain));
    command(IOVA + (1UL << 30), 0, 2);
    expect("until it has it again", (int64_t)*reg(VALUE), 0xd00d);
    expect("six faults", (int64_t)*reg(FAULTS), 6);
}

/* A page that a device reaches is not freed, so that what others have is never reached. */
static void dma_after_munmap(void)
{
    aero_handle device = board();

    map_registers(device);
    map_memory(1);
    aero_handle domain = attached(device);
    must("domain_map", aero_domain_map(domain, MEMORY, AERO_PAGE_SIZE, IOVA, READ_WRITE));
    must("munmap", aero_munmap(MEMORY, AERO_PAGE_SIZE));
    command(IOVA, 0xab, 3);
    expect("it is still reached", (int64_t)*reg(FAULTS), 0);
    must("mmap", aero_mmap(MEMORY, 64 * AERO_PAGE_SIZE, READ_WRITE));
    for (uint64_t i = 0; i < 64 * AERO_PAGE_SIZE; i += 8)
        expect("but it is no other's", *(volatile int64_t *)(MEMORY + i), 0);
    must("domain_unmap", aero_domain_unmap(domain, IOVA, AERO_PAGE_SIZE));
    must("mmap", aero_mmap(MEMORY + (1UL << 20), 64 * AERO_PAGE_SIZE, READ_WRITE));
    command(IOVA, 0xab, 3);
    expect("nor is it now", (int64_t)*reg(FAULTS), 1);
    for (uint64_t i = 0; i < 64 * AERO_PAGE_SIZE; i += 8)
        expect("and was emptied", *(volatile int64_t *)(MEMORY + (1UL << 20) + i), 0);
}

static void blocks(void)
{
    aero_handle device = board();
    volatile uint64_t *memory = (volatile uint64_t *)MEMORY;

    map_registers(device);
    must("mmap", aero_mmap(MEMORY, AERO_BLOCK_SIZE, READ_WRITE));
    aero_handle domain = attached(device);
    must("domain_map", aero_domain_map(domain, MEMORY, AERO_BLOCK_SIZE, 3 * AERO_BLOCK_SIZE, READ_WRITE));
    command(4 * AERO_BLOCK_SIZE - 8, 0xb10c, 1);
    expect("the end of a block", (int64_t)memory[AERO_BLOCK_SIZE / 8 - 1], 0xb10c);
    must("domain_unmap", aero_domain_unmap(domain, 3 * AERO_BLOCK_SIZE, AERO_BLOCK_SIZE));
    command(4 * AERO_BLOCK_SIZE - 8, 0xbad, 1);
    expect("is out of reach", (int64_t)memory[AERO_BLOCK_SIZE / 8 - 1], 0xb10c);
    expect("one fault", (int64_t)*reg(FAULTS), 1);
}

/* The board's IOMMU takes nothing at 0xfee00000, where interrupts are on a PC, and eight mappings in all. */
static void hardware_refuses(void)
{
    aero_handle device = board(), domain = attached(device);

    map_memory(16);
    expect("a hole", aero_domain_map(domain, MEMORY, 2 * AERO_PAGE_SIZE, 0xfedff000, READ_WRITE), -AERO_EIO);
    expect("nothing stays", aero_domain_map(domain, MEMORY, AERO_PAGE_SIZE, 0xfedff000, READ_WRITE), 0);
    expect("too many", aero_domain_map(domain, MEMORY, 8 * AERO_PAGE_SIZE, IOVA, READ_WRITE), -AERO_ENOSPC);
    expect("enough", aero_domain_map(domain, MEMORY, 7 * AERO_PAGE_SIZE, IOVA, READ_WRITE), 0);
    must("device_detach", aero_device_detach(device));
    must("domain_map", aero_domain_map(domain, MEMORY, AERO_PAGE_SIZE, 0xfee00000, READ_WRITE));
    expect("not that domain", aero_device_attach(device, domain), -AERO_EIO);
    must("domain_unmap", aero_domain_unmap(domain, 0xfee00000, AERO_PAGE_SIZE));
    expect("but now", aero_device_attach(device, domain), 0);
}

/* A domain that maps more than a step does, when the device is attached. */
static void attach_many(void)
{
    aero_handle device = board(), domain = (aero_handle)must("domain_create", aero_domain_create());

    map_registers(device);
    map_memory(1);
    for (uint64_t i = 0; i < 200; i++)
        must("domain_map", aero_domain_map(domain, MEMORY, AERO_PAGE_SIZE, IOVA + i * AERO_PAGE_SIZE, READ_WRITE));
    for (int turn = 0; turn < 2; turn++) {
        int64_t result = aero_device_attach(device, domain);

        if (result == -AERO_ENOSPC) { /* nothing stays */
            expect("device_detach", aero_device_detach(device), -AERO_EINVAL);
            return;
        }
        expect("device_attach", result, 0);
        command(IOVA, 0x1111, 1);
        expect("the first", *(volatile int64_t *)MEMORY, 0x1111);
        command(IOVA + 199 * AERO_PAGE_SIZE, 0x2222, 1);
        expect("the last", *(volatile int64_t *)MEMORY, 0x2222);
        must("device_detach", aero_device_detach(device));
    }
}

static int maps_meanwhile(void *argument)
{
    aero_handle domain = (aero_handle)argument;

    for (uint64_t i = 0; i < 50; i++) {
        must("domain_unmap", aero_domain_unmap(domain, IOVA + 4 * i * AERO_PAGE_SIZE, AERO_PAGE_SIZE));
        must("domain_map", aero_domain_map(domain, MEMORY, AERO_PAGE_SIZE, IOVA + (300 + i) * AERO_PAGE_SIZE, READ_WRITE));
        must("domain_unmap", aero_domain_unmap(domain, IOVA + (199 - 4 * i) * AERO_PAGE_SIZE, AERO_PAGE_SIZE));
        must("and again", aero_domain_map(domain, MEMORY, AERO_PAGE_SIZE, IOVA + (199 - 4 * i) * AERO_PAGE_SIZE, READ_WRITE));
    }
    return 0;
}

/* Another thread changes the domain while the device is being attached, and this one detaches it again. */
static void attach_meanwhile(void)
{
    struct aero_thread thread;
    aero_handle device = board(), domain = (aero_handle)must("domain_create", aero_domain_create());

    map_registers(device);
    map_memory(1);
    for (uint64_t i = 0; i < 200; i++)
        must("domain_map", aero_domain_map(domain, MEMORY, AERO_PAGE_SIZE, IOVA + i * AERO_PAGE_SIZE, READ_WRITE));
    spawn(&thread, maps_meanwhile, domain);
    expect("device_attach", aero_device_attach(device, domain), 0);
    expect("the thread", aero_thread_wait(&thread), 0);
    command(IOVA, 0x1111, 1);
    expect("what was unmapped", (int64_t)*reg(FAULTS), 1);
    command(IOVA + AERO_PAGE_SIZE, 0x2222, 1);
    expect("what was there", *(volatile int64_t *)MEMORY, 0x2222);
    command(IOVA + 349 * AERO_PAGE_SIZE, 0x3333, 1);
    expect("what was mapped", *(volatile int64_t *)MEMORY, 0x3333);
}

/* --- Interrupts --- */

static void interrupts(void)
{
    aero_handle device = board(), endpoint = deaf_to_programs();
    struct aero_message message = {0};
    int64_t come = 0;

    map_registers(device);
    *reg(INTERRUPT) = 0; /* before anybody wants to know */
    must("interrupt_bind", aero_interrupt_bind(device, endpoint));
    while (come < 1)
        come += must("message_receive", aero_message_receive(endpoint, AERO_FOREVER, &message));
    for (int i = 0; i < 200; i++)
        *reg(INTERRUPT) = (uint64_t)i % 2;
    while (come < 201)
        come += must("message_receive", aero_message_receive(endpoint, AERO_FOREVER, &message));
    expect("none is lost or invented", come, 201);
    expect("of vector 0", aero_device_info(device, AERO_DEVICE_INTERRUPTS), 101);
    expect("of vector 1", aero_device_info(device, AERO_DEVICE_INTERRUPTS + 1), 100);
    expect("and no more come", aero_message_receive(endpoint, 20000000, &message), -AERO_ETIMEDOUT);
    must("interrupt_bind to none", aero_interrupt_bind(device, 0));
    *reg(INTERRUPT) = 1;
    expect("nobody is there any more", aero_message_receive(endpoint, AERO_FOREVER, &message), -AERO_EPIPE);
}

/* --- Reset --- */

/* The host makes a thousand interrupts at once, when this is said. */
static void many_interrupts(void)
{
    aero_handle device = board(), endpoint = deaf_to_programs();
    struct aero_message message = {0};
    int64_t come = 0;

    must("interrupt_bind", aero_interrupt_bind(device, endpoint));
    aero_print("bound\n");
    while (come < 1000)
        come += must("message_receive", aero_message_receive(endpoint, AERO_FOREVER, &message));
    expect("none is lost or invented", come, 1000);
    expect("of vector 0", aero_device_info(device, AERO_DEVICE_INTERRUPTS), 1000);
    expect("and no more come", aero_message_receive(endpoint, 20000000, &message), -AERO_ETIMEDOUT);
}

static int resets(void *argument)
{
    return (int)-aero_device_reset((aero_handle)argument);
}

/* Two threads at once, of a board that takes its time. */
static void reset_twice(void)
{
    struct aero_thread thread;
    aero_handle device = board();
    int64_t mine, other;

    spawn(&thread, resets, device);
    mine = -aero_device_reset(device);
    other = aero_thread_wait(&thread);
    expect("one does it, the other is told so", mine + other, AERO_EBUSY);
    expect("and then it can be done again", aero_device_reset(device), 0);
}

static void reset(void)
{
    aero_handle device = board();

    map_registers(device);
    *reg(SCRATCH) = 5;
    must("device_reset", aero_device_reset(device));
    expect("it is as at power-on", (int64_t)*reg(SCRATCH), 0);
    *reg(SCRATCH) = 0xdead; /* the board cannot be reset from now on */
    expect("device_reset", aero_device_reset(device), -AERO_EIO);
}

/* --- Arguments --- */

static void arguments(void)
{
    aero_handle device = board();
    uint64_t size = AERO_PAGE_SIZE;

    expect("region 1, which is none", aero_device_map(device, 1, 0, REGISTERS, size, AERO_READ), -AERO_EINVAL);
    expect("region 3", aero_device_map(device, 3, 0, REGISTERS, size, AERO_READ), -AERO_EINVAL);
    expect("a high region", aero_device_map(device, ALL_ONES, 0, REGISTERS, size, AERO_READ), -AERO_EINVAL);
    expect("an odd offset", aero_device_map(device, 0, 8, REGISTERS, size, AERO_READ), -AERO_EINVAL);
    expect("an offset beyond", aero_device_map(device, 0, 4 * size, REGISTERS, size, AERO_READ), -AERO_EINVAL);
    expect("a high offset", aero_device_map(device, 0, 0UL - size, REGISTERS, size, AERO_READ), -AERO_EINVAL);
    expect("an end beyond", aero_device_map(device, 0, 3 * size, REGISTERS, 2 * size, AERO_READ), -AERO_EINVAL);
    expect("no length", aero_device_map(device, 0, 0, REGISTERS, 0, AERO_READ), -AERO_EINVAL);
    expect("an odd length", aero_device_map(device, 0, 0, REGISTERS, 8, AERO_READ), -AERO_EINVAL);
    expect("an odd address", aero_device_map(device, 0, 0, REGISTERS + 8, size, AERO_READ), -AERO_EINVAL);
    expect("a low address", aero_device_map(device, 0, 0, 0, size, AERO_READ), -AERO_EINVAL);
    expect("a high address", aero_device_map(device, 0, 0, AERO_USER_END, size, AERO_READ), -AERO_EINVAL);
    expect("no protection", aero_device_map(device, 0, 0, REGISTERS, size, AERO_NONE), -AERO_EINVAL);
    expect("execution", aero_device_map(device, 0, 0, REGISTERS, size, AERO_READ | AERO_EXECUTE), -AERO_EINVAL);
    expect("other bits", aero_device_map(device, 0, 0, REGISTERS, size, ALL_ONES), -AERO_EINVAL);
    expect("65 pages", aero_device_map(device, 2, 0, REGISTERS, 65 * size, AERO_READ), -AERO_ENOSPC);
    must("mmap", aero_mmap(REGISTERS + 2 * size, size, AERO_READ));
    expect("mapped", aero_device_map(device, 0, 0, REGISTERS, 4 * size, AERO_READ), -AERO_EEXIST);
    must("munmap", aero_munmap(REGISTERS + 2 * size, size));
    for (uint64_t i = 0; i < 64; i++)
        must("device_map", aero_device_map(device, 2, i * size, REGISTERS + i * size, size, READ_WRITE));
    expect("the 65th", aero_device_map(device, 2, 0, REGISTERS + 64 * size, size, AERO_READ), -AERO_ENOSPC);
    must("munmap", aero_munmap(REGISTERS + 5 * size, size));
    expect("when one is gone", aero_device_map(device, 2, 64 * size, REGISTERS + 64 * size, size, AERO_READ), 0);

    aero_handle domain = attached(device);
    expect("registers for DMA", aero_domain_map(domain, REGISTERS, size, IOVA, AERO_READ), -AERO_EFAULT);
    map_memory(1);
    expect("memory beside", aero_domain_map(domain, MEMORY, size, IOVA, AERO_READ), 0);
    expect("a domain is no device", aero_device_map(domain, 0, 0, MEMORY + size, size, AERO_READ), -AERO_ESRCH);
}

/* All the quota is used; the call says so, and leaves nothing behind. */
static void exhaustion(void)
{
    aero_handle device = board();
    uint64_t address = MEMORY;

    while (aero_mmap(address, AERO_PAGE_SIZE, AERO_READ) == 0)
        address += AERO_PAGE_SIZE;
    expect("no quota", aero_device_map(device, 0, 0, REGISTERS, AERO_PAGE_SIZE, AERO_READ), -AERO_ENOMEM);
    must("munmap", aero_munmap(MEMORY, 5 * AERO_PAGE_SIZE)); /* two tables, and three of four pages */
    expect("too little", aero_device_map(device, 0, 0, REGISTERS, 4 * AERO_PAGE_SIZE, AERO_READ), -AERO_ENOMEM);
    expect("enough", aero_device_map(device, 0, 0, REGISTERS, 3 * AERO_PAGE_SIZE, AERO_READ), 0);
    expect("it is there", (int64_t)*reg(IDENTITY), BOARD);
}

/* --- Ends --- */

/* Waits for the host to do something to it. */
static void hold(void)
{
    aero_handle device = board();

    map_registers(device);
    map_memory(1);
    aero_handle domain = attached(device);
    must("domain_map", aero_domain_map(domain, MEMORY, AERO_PAGE_SIZE, IOVA, READ_WRITE));
    must("interrupt_bind", aero_interrupt_bind(device, new_endpoint()));
    *reg(SCRATCH) = 0x1d1e;
    aero_print("holds\n");
    for (;;)
        aero_thread_yield();
}

/* The host removes the board while it is used. */
static void surprise(void)
{
    aero_handle device = board(), endpoint = deaf_to_programs();
    struct aero_message message = {0};

    map_registers(device);
    must("interrupt_bind", aero_interrupt_bind(device, endpoint));
    expect("it is there", (int64_t)*reg(IDENTITY), BOARD);
    aero_print("here\n");
    expect("nothing more comes", aero_message_receive(endpoint, AERO_FOREVER, &message), -AERO_EPIPE);
    expect("trapped registers are gone", (int64_t)*reg(IDENTITY), (int64_t)ALL_ONES);
    expect("device memory as well", (int64_t)*reg(AERO_PAGE_SIZE), (int64_t)ALL_ONES);
    *reg(SCRATCH) = 1;
    *reg(AERO_PAGE_SIZE) = 1;
    expect("no handle", aero_device_info(device, AERO_DEVICE_CLASS), -AERO_ESRCH);
    expect("nothing to map", aero_device_map(device, 0, 0, MEMORY, AERO_PAGE_SIZE, AERO_READ), -AERO_ESRCH);
    must("munmap", aero_munmap(REGISTERS, 4 * AERO_PAGE_SIZE));
}

static volatile uint64_t stage, child_saw;

static int second_holder(void *argument)
{
    aero_handle device = (aero_handle)argument;

    expect("device_map", aero_device_map(device, 0, 0, MEMORY, 4 * AERO_PAGE_SIZE, READ_WRITE), 0);
    child_saw = *(volatile uint64_t *)(MEMORY + SCRATCH);
    *(volatile uint64_t *)(MEMORY + SCRATCH) = 0x2222;
    stage = 1;
    await(&stage);
    while (stage == 1)
        aero_thread_yield();
    expect("it is the child's alone", *(volatile int64_t *)(MEMORY + SCRATCH), 0x2222);
    return failures;
}

/* What the device passes on, those who had it lose: their registers are dead. */
static void pass(void)
{
    aero_handle device = board();
    struct aero_child child = new_child(0);

    map_registers(device);
    *reg(SCRATCH) = 0x1111;
    aero_handle given = give(&child, device, 0);
    expect("dead at once", (int64_t)*reg(SCRATCH), (int64_t)ALL_ONES);
    expect("device memory too", (int64_t)*reg(AERO_PAGE_SIZE), (int64_t)ALL_ONES);
    start(&child, second_holder, given);
    await(&stage);
    expect("the child has it", (int64_t)child_saw, 0x1111);
    *reg(SCRATCH) = 0x3333;
    expect("and the parent has not", (int64_t)*reg(SCRATCH), (int64_t)ALL_ONES);
    stage = 2;
    expect("the child", aero_child_wait(&child), 0);
}

/* A child that was given the page has the registers as well, and loses them with its parent. */
static void share(void)
{
    aero_handle device = board();
    struct aero_child child = new_child(0);

    map_registers(device);
    must("process_share", aero_process_share(child.process, REGISTERS, 4 * AERO_PAGE_SIZE, MEMORY, READ_WRITE));
    must("munmap", aero_munmap(REGISTERS, 4 * AERO_PAGE_SIZE));
    map_registers(device);
    *reg(SCRATCH) = 0x77;
    struct aero_child holder = new_child(0);
    give(&holder, device, 0);
    expect("dead", (int64_t)*reg(SCRATCH), (int64_t)ALL_ONES);
}

static const struct scene scenes[] = {
    {"registers", registers}, {"info", info}, {"unmap", unmap}, {"store_read_only", store_read_only},
    {"store_protected", store_protected}, {"load_unmapped", load_unmapped}, {"execute", execute},
    {"odd_instruction", odd_instruction}, {"dma", dma}, {"dma_after_munmap", dma_after_munmap}, {"blocks", blocks},
    {"hardware_refuses", hardware_refuses}, {"attach_many", attach_many}, {"attach_meanwhile", attach_meanwhile},
    {"interrupts", interrupts}, {"many_interrupts", many_interrupts}, {"reset", reset}, {"reset_twice", reset_twice},
    {"arguments", arguments}, {"exhaustion", exhaustion}, {"hold", hold},
    {"surprise", surprise}, {"pass", pass}, {"share", share},
};

/* Says of which class each device is that it was given by these names. */
static void ids(char **names)
{
    for (; *names; names++) {
        aero_print(*names);
        aero_print(" ");
        aero_print_hex((uint64_t)aero_device_info((aero_handle)aero_device(*names), AERO_DEVICE_CLASS));
        aero_print("\n");
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "ids") == 0) {
        ids(argv + 2);
        return verdict("ids");
    }
    return play(scenes, sizeof scenes / sizeof *scenes, argc, argv);
}
