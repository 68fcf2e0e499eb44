/* A driver's device in a machine: a program in ring 3, by native calls alone.
 *
 * The program's memory is mapped for the device at an IOVA that is its own address: addresses are made here, above
 * 4 GiB, where no IOMMU keeps room for interrupts, and below 2^39, which the smallest reach. */
#include <aero.h>

#include "device.h"

#define DEVICES 4
#define REGISTERS 16
#define FIRST_ADDRESS 0x2000000000UL
#define END_ADDRESS 0x8000000000UL
#define AT_ONCE (64 * DEVICE_PAGE) /* that one call maps for a device */
#define SMALL (1UL << 20)

struct inside {
    aero_handle device, domain, endpoint; /* endpoint 0: no interrupts; device 0: the place is free */
    struct { volatile void *at; unsigned region; uint64_t offset, size; } registers[REGISTERS];
};

static struct inside places[DEVICES];
static uint64_t next_address = FIRST_ADDRESS;

/* Addresses that nobody has; a page is left out after them. */
static uint64_t make_addresses(uint64_t size)
{
    uint64_t address = next_address;

    if (size > END_ADDRESS - DEVICE_PAGE - next_address)
        return 0;
    next_address += size + DEVICE_PAGE;
    return address;
}

/* There is no clock but the time that receiving waits at most. */
static uint64_t rate_of_ticks(void)
{
    static uint64_t rate;
    struct aero_message message = {0};
    int64_t endpoint = rate ? -1 : aero_endpoint_create();

    if (endpoint >= 0) {
        uint64_t start = device_ticks();

        aero_message_receive((aero_handle)endpoint, 10000000, &message);
        rate = (device_ticks() - start) / 10000;
        aero_handle_close((aero_handle)endpoint);
    }
    return rate ? rate : 1000;
}

/* Has interrupts signalled at an endpoint; without, the device can be polled. */
static void bind_interrupts(struct inside *inside)
{
    int64_t endpoint = aero_endpoint_create();

    if (endpoint < 0)
        return;
    if (aero_interrupt_bind(inside->device, (aero_handle)endpoint))
        aero_handle_close((aero_handle)endpoint);
    else
        inside->endpoint = (aero_handle)endpoint;
}

int device_open(struct device *device, const char *name)
{
    int64_t handle = aero_device(name), domain, identity, vectors;
    struct inside *inside = places;
    int result;

    while (inside < places + DEVICES && inside->device)
        inside++;
    if (handle < 0 || inside == places + DEVICES)
        return handle < 0 ? -DEVICE_ENXIO : -DEVICE_ENOMEM;
    domain = aero_domain_create();
    if (domain < 0)
        return (int)domain;
    result = (int)aero_device_attach((aero_handle)handle, (aero_handle)domain);
    if (result) {
        aero_domain_close((aero_handle)domain);
        return result;
    }
    *inside = (struct inside){.device = (aero_handle)handle, .domain = (aero_handle)domain};
    identity = aero_device_info(inside->device, AERO_DEVICE_IDENTITY);
    vectors = aero_device_info(inside->device, AERO_DEVICE_VECTORS);
    if (vectors > 0)
        bind_interrupts(inside);
    *device = (struct device){.vendor = (uint16_t)identity, .product = (uint16_t)(identity >> 16),
                              .vectors = inside->endpoint ? (unsigned)vectors : 0, .per_us = rate_of_ticks(),
                              .inside = inside};
    return 0;
}

void device_close(struct device *device)
{
    struct inside *inside = device->inside;

    for (int i = 0; i < REGISTERS; i++)
        if (inside->registers[i].at)
            aero_munmap((uint64_t)inside->registers[i].at, inside->registers[i].size);
    if (inside->endpoint) {
        aero_interrupt_bind(inside->device, 0);
        aero_handle_close(inside->endpoint);
    }
    aero_device_detach(inside->device);
    aero_domain_close(inside->domain);
    inside->device = 0;
    device->inside = NULL;
}

int device_reset(struct device *device)
{
    return (int)aero_device_reset(((struct inside *)device->inside)->device);
}

volatile void *device_registers(struct device *device, unsigned region, uint64_t offset, uint64_t size)
{
    struct inside *inside = device->inside;
    int i = 0;
    uint64_t address;

    for (; i < REGISTERS && inside->registers[i].at; i++)
        if (inside->registers[i].region == region && inside->registers[i].offset == offset &&
            inside->registers[i].size == size)
            return inside->registers[i].at;
    if (i == REGISTERS || size == 0)
        return NULL;
    address = make_addresses(size);
    if (!address)
        return NULL;
    if (aero_device_map(inside->device, region, offset, address, size, AERO_READ | AERO_WRITE))
        return NULL;
    inside->registers[i].at = (volatile void *)address;
    inside->registers[i].region = region;
    inside->registers[i].offset = offset;
    inside->registers[i].size = size;
    return inside->registers[i].at;
}

/* Takes the first `size` bytes from the device. */
static void unmap_for_device(struct inside *inside, uint64_t address, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += AT_ONCE)
        aero_domain_unmap(inside->domain, address + at, size - at < AT_ONCE ? size - at : AT_ONCE);
}

int device_memory_make(struct device *device, uint64_t size, struct device_memory *memory)
{
    struct inside *inside = device->inside;
    uint64_t rounded = aero_round_to_pages(size), address = size ? make_addresses(rounded) : 0;
    int64_t result;

    if (!address)
        return size ? -DEVICE_ENOMEM : -DEVICE_EINVAL;
    /* In pieces too small for pages of 2 MiB, of which no part could be mapped for a device. */
    for (uint64_t at = 0; at < rounded; at += SMALL) {
        uint64_t part = rounded - at < SMALL ? rounded - at : SMALL;

        result = aero_mmap(address + at, part, AERO_READ | AERO_WRITE);
        if (aero_failed(result)) {
            if (at)
                aero_munmap(address, at);
            return (int)result;
        }
    }
    for (uint64_t at = 0; at < rounded; at += AT_ONCE) {
        uint64_t part = rounded - at < AT_ONCE ? rounded - at : AT_ONCE;

        result = aero_domain_map(inside->domain, address + at, part, address + at, AERO_READ | AERO_WRITE);
        if (result) {
            unmap_for_device(inside, address, at);
            aero_munmap(address, rounded);
            return (int)result;
        }
    }
    *memory = (struct device_memory){(void *)address, address, rounded};
    return 0;
}

void device_memory_end(struct device *device, struct device_memory *memory)
{
    if (memory->size == 0)
        return;
    unmap_for_device(device->inside, memory->iova, memory->size);
    aero_munmap((uint64_t)memory->at, memory->size);
    *memory = (struct device_memory){0};
}

int64_t device_wait(struct device *device, uint64_t timeout)
{
    struct inside *inside = device->inside;
    struct aero_message message = {0};
    int64_t result;

    if (!inside->endpoint)
        return -DEVICE_EINVAL;
    result = aero_message_receive(inside->endpoint, timeout, &message);
    return result == -AERO_ETIMEDOUT || result == -AERO_EAGAIN ? 0 : result;
}

void device_say(const char *line)
{
    aero_print(line);
    aero_print("\n");
}
