/* An NVMe controller in ring 3, with no driver but this:  passthrough SCENE
 *
 * Registers, queues and commands: NVM Express 1.4, sections 3.1 and 5. */
#include "scenes.h"

#define BAR 0x100000000UL
#define MEMORY 0x200000000UL
#define IOVA 0x40000000UL
#define READ_WRITE (AERO_READ | AERO_WRITE)
#define DEPTH 16
enum { CAP = 0x00, VS = 0x08, CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30, DOORBELLS = 0x1000 };
enum { SUBMISSION = 0, COMPLETION = 1, BUFFER = 2 }; /* pages of memory */

static aero_handle device, domain, endpoint;
static unsigned tail, head, phase = 1;

static volatile uint32_t *reg32(uint64_t offset) { return (volatile uint32_t *)(BAR + offset); }

static void set64(uint64_t offset, uint64_t value)
{
    *reg32(offset) = (uint32_t)value;
    *reg32(offset + 4) = (uint32_t)(value >> 32);
}

static void await_ready(uint32_t ready)
{
    for (int i = 0; i < 10000000 && (*reg32(CSTS) & 1) != ready; i++)
        __builtin_ia32_pause();
    expect("CSTS.RDY", *reg32(CSTS) & 1, ready);
}

static void bring_up(void)
{
    aero_handle both = new_endpoint();

    device = (aero_handle)must("aero_device", aero_device("nvme0"));
    endpoint = copy(both, AERO_RECEIVE, 0); /* so that nobody but the device is at the other end */
    must("handle_close", aero_handle_close(both));
    must("interrupt_bind", aero_interrupt_bind(device, endpoint));
    must("device_map", aero_device_map(device, 0, 0, BAR, 2 * AERO_PAGE_SIZE, READ_WRITE));
    must("mmap", aero_mmap(MEMORY, 3 * AERO_PAGE_SIZE, READ_WRITE));
    domain = (aero_handle)must("domain_create", aero_domain_create());
    must("device_attach", aero_device_attach(device, domain));
    must("domain_map", aero_domain_map(domain, MEMORY, 3 * AERO_PAGE_SIZE, IOVA, READ_WRITE));
    expect("class", aero_device_info(device, AERO_DEVICE_CLASS), 0x010802);
    *reg32(CC) = 0;
    await_ready(0);
    *reg32(AQA) = (DEPTH - 1) << 16 | (DEPTH - 1);
    set64(ASQ, IOVA);
    set64(ACQ, IOVA + AERO_PAGE_SIZE);
    *reg32(CC) = 4 << 20 | 6 << 16 | 1;
    await_ready(1);
}

/* One admin command, by the interrupt that says it is done.  Returns its status. */
static int64_t admin(uint32_t opcode, uint64_t address, uint32_t dword10)
{
    volatile uint32_t *entry = (volatile uint32_t *)(MEMORY + 64 * tail);
    volatile uint32_t *done = (volatile uint32_t *)(MEMORY + AERO_PAGE_SIZE + 16 * head);
    struct aero_message message = {0};

    for (int i = 0; i < 16; i++)
        entry[i] = 0;
    entry[0] = opcode;
    entry[6] = (uint32_t)address;
    entry[7] = (uint32_t)(address >> 32);
    entry[10] = dword10;
    tail = (tail + 1) % DEPTH;
    *reg32(DOORBELLS) = tail;
    must("the interrupt", aero_message_receive(endpoint, 30000000000UL, &message));
    expect("phase", done[3] >> 16 & 1, phase);
    if (++head == DEPTH) {
        head = 0;
        phase ^= 1;
    }
    *reg32(DOORBELLS + 4) = head;
    return done[3] >> 17;
}

static void print_field(const char *name, uint64_t offset, unsigned length)
{
    static char text[64];

    memcpy(text, (const char *)MEMORY + BUFFER * AERO_PAGE_SIZE + offset, length);
    while (length && text[length - 1] == ' ')
        length--;
    text[length] = 0;
    aero_print(name);
    aero_print(text);
    aero_print("\n");
}

static void identify(void)
{
    bring_up();
    aero_print("version ");
    aero_print_hex(*reg32(VS));
    aero_print("\n");
    for (int i = 0; i < 40; i++) /* more than twice around the queues */
        expect("status", admin(6, IOVA + BUFFER * AERO_PAGE_SIZE, 1), 0);
    print_field("serial ", 4, 20);
    print_field("model ", 24, 40);
    expect_true("interrupts", aero_device_info(device, AERO_DEVICE_INTERRUPTS) >= 1);
}

/* What the domain does not map the controller does not reach, whatever it says. */
static void blocked(void)
{
    volatile uint8_t *buffer = (volatile uint8_t *)(MEMORY + BUFFER * AERO_PAGE_SIZE);

    bring_up();
    memset((void *)buffer, 0xa5, AERO_PAGE_SIZE);
    admin(6, 0xdead0000UL, 1);
    admin(6, MEMORY + BUFFER * AERO_PAGE_SIZE, 1);
    must("domain_unmap", aero_domain_unmap(domain, IOVA + BUFFER * AERO_PAGE_SIZE, AERO_PAGE_SIZE));
    admin(6, IOVA + BUFFER * AERO_PAGE_SIZE, 1);
    must("domain_map", aero_domain_map(domain, (uint64_t)buffer, AERO_PAGE_SIZE, IOVA + (1UL << 20), AERO_READ));
    admin(6, IOVA + (1UL << 20), 1);
    for (uint64_t i = 0; i < AERO_PAGE_SIZE; i++)
        expect("a byte that no DMA may reach", buffer[i], 0xa5);
    must("domain_unmap", aero_domain_unmap(domain, IOVA + (1UL << 20), AERO_PAGE_SIZE));
    must("domain_map", aero_domain_map(domain, (uint64_t)buffer, AERO_PAGE_SIZE, IOVA + (1UL << 20), READ_WRITE));
    expect("the controller is alive", admin(6, IOVA + (1UL << 20), 1), 0);
    expect_true("and reaches it again", buffer[4] != 0xa5);
}

static void hold(void)
{
    bring_up();
    aero_print("holds\n");
    for (;;)
        admin(6, IOVA + BUFFER * AERO_PAGE_SIZE, 1);
}

/* Where VFIO writes itself, programs do not: the page of the MSI-X table is trapped, and what is stored vanishes. */
static void msix_table(void)
{
    uint64_t size = (uint64_t)must("aero_device_info",
                                   aero_device_info(aero_device("nvme0"), AERO_DEVICE_REGION_SIZE));

    bring_up();
    must("device_map", aero_device_map(device, 0, 2 * AERO_PAGE_SIZE, BAR + 2 * AERO_PAGE_SIZE,
                                       size - 2 * AERO_PAGE_SIZE, READ_WRITE));
    for (uint64_t offset = 2 * AERO_PAGE_SIZE; offset < 2 * AERO_PAGE_SIZE + 64; offset += 4)
        *reg32(offset) = 0;
    expect("interrupts still come", admin(6, IOVA + BUFFER * AERO_PAGE_SIZE, 1), 0);
}

/* An 82540, of which this uses what interrupts: causes can be set by hand.  The line stays asserted until they are read. */
static void line(void)
{
    enum { ICR = 0xc0, ICS = 0xc8, IMS = 0xd0, LINK = 1 << 2 };
    aero_handle both = new_endpoint();
    struct aero_message message = {0};

    device = (aero_handle)must("aero_device", aero_device("nic"));
    expect("vectors", aero_device_info(device, AERO_DEVICE_VECTORS), 1);
    must("interrupt_bind", aero_interrupt_bind(device, both));
    must("device_map", aero_device_map(device, 0, 0, BAR, AERO_PAGE_SIZE, READ_WRITE));
    *reg32(IMS) = LINK;
    for (int i = 0; i < 20; i++) {
        *reg32(ICS) = LINK;
        must("the interrupt", aero_message_receive(both, 30000000000UL, &message));
        if (i % 2) /* not served yet: it is told again */
            must("the interrupt again", aero_message_receive(both, 30000000000UL, &message));
        expect_true("its cause", *reg32(ICR) & LINK);
        while (aero_message_receive(both, 5000000, &message) > 0) { /* what was on its way */
        }
    }
    expect("the cause when it was read", *reg32(ICR) & LINK, 0);
    expect_true("as many interrupts", aero_device_info(device, AERO_DEVICE_INTERRUPTS) >= 30);
}

static const struct scene scenes[] = {
    {"identify", identify}, {"blocked", blocked}, {"hold", hold}, {"msix_table", msix_table},
    {"line", line},
};

int main(int argc, char **argv) { return play(scenes, sizeof scenes / sizeof *scenes, argc, argv); }
