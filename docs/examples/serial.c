/* A driver of forty lines: it asks an NVMe disk for its serial number.  docs/devices.md says how it is built, for a machine
 * and for Linux.  Sections are those of the NVM Express base specification, revision 1.4. */
#include "device.h"

#define ENTRIES 2u /* of each admin queue */

enum { CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30, TAIL = 0x1000 };

static int fail(const char *what)
{
    device_say(what);
    return 1;
}

/* Until CSTS.RDY is this, for ten seconds at most. */
static bool await_ready(struct device *device, volatile void *registers, uint32_t ready)
{
    uint64_t end = device_ticks() + 10 * 1000 * 1000 * device->per_us;

    while ((register_read(registers, CSTS) & 1) != ready)
        if (device_ticks() > end)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct device device;
    struct device_memory memory; /* a page each: commands, completions, what Identify says */
    volatile void *registers;
    uint32_t *command;
    volatile uint32_t *completion;
    uint64_t end;
    char serial[21] = {0};

    if (argc != 2 || device_open(&device, argv[1]))
        return fail("there is no such device");
    registers = device_registers(&device, 0, 0, 2 * DEVICE_PAGE);
    if (!registers || device_memory_make(&device, 3 * DEVICE_PAGE, &memory))
        return fail("no registers, or no memory");
    register_write(registers, CC, 0); /* 7.6.1: disabled, then with an admin queue, then enabled */
    if (!await_ready(&device, registers, 0))
        return fail("it is not disabled");
    register_write(registers, AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    register_write64(registers, ASQ, memory.iova);
    register_write64(registers, ACQ, memory.iova + DEVICE_PAGE);
    register_write(registers, CC, 4u << 20 | 6u << 16 | 1);
    if (!await_ready(&device, registers, 1))
        return fail("it is not enabled");
    command = memory.at; /* 5.15: Identify, of the controller, into the third page */
    command[0] = 6;
    *(uint64_t *)(command + 6) = memory.iova + 2 * DEVICE_PAGE;
    command[10] = 1;
    register_write(registers, TAIL, 1);
    completion = (volatile uint32_t *)((uint8_t *)memory.at + DEVICE_PAGE);
    end = device_ticks() + 10 * 1000 * 1000 * device.per_us;
    while (!(memory_read_first(completion + 3) >> 16 & 1)) /* 4.6: the phase comes last */
        if (device_ticks() > end)
            return fail("it does not answer");
    if (completion[3] >> 17)
        return fail("it refuses");
    for (int i = 0; i < 20; i++)
        serial[i] = ((char *)memory.at)[2 * DEVICE_PAGE + 4 + i];
    device_say(serial);
    register_write(registers, CC, 0);
    await_ready(&device, registers, 0);
    device_memory_end(&device, &memory);
    device_close(&device);
    return 0;
}
