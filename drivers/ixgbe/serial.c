/* What hangs on the serial pins: the EEPROM, which drivers may clock themselves by EEC instead of EERD (datasheet sections
 * 3.3.1 and 8.2.3.2.1), and the module in an SFP+ cage, by I2CCTL (8.2.3.1.6, SFF-8472).  Both are decided by the engine,
 * for a driver gives each edge a microsecond. */
#include "inside.h"

enum { EE_SK = 1, EE_CS = 2, EE_DI = 4, EE_DO = 8, EE_REQ = 1 << 6, EE_GNT = 1 << 7, EE_WRITABLE = 0x77 };
enum { WRITE = 2, READ = 3, WRITE_DISABLE = 4, READ_STATUS = 5, WRITE_ENABLE = 6 };
enum { CLK_IN = 1, CLK_OUT = 2, DATA_IN = 4, DATA_OUT = 8 };
enum { IDLE, ADDRESSED, OFFSET, WRITTEN, SENDING };

#define BEFORE_DATA 24 /* bits of an operation code and an address */
#define MODULE 0x50    /* the module's address on its bus: 0xA0 with the bit of direction */

void ixgbe_serial(struct ixgbe *e, uint16_t *eeprom, uint32_t words, const uint8_t *module)
{
    e->spi = (struct spi){.words = eeprom, .bytes = 2 * words};
    e->i2c = (struct i2c){.page = module};
    ix_serial_reset(e);
}

/* The controller lets go of the pins. */
void ix_serial_reset(struct ixgbe *e)
{
    e->spi.bits = e->spi.operation = 0;
    e->spi.writable = e->spi.out = false;
    e->i2c.state = e->i2c.next = IDLE;
    e->i2c.clock = e->i2c.data = e->i2c.line = true;
}

/* Words lie in the EEPROM with the low byte first, a byte with its highest bit first. */
static uint8_t byte_of(const struct spi *spi, uint32_t at)
{
    return (uint8_t)(spi->words[at % spi->bytes / 2] >> at % 2 * 8);
}

static void set_byte(struct spi *spi, uint32_t at, uint8_t value)
{
    uint16_t *word = &spi->words[at % spi->bytes / 2];

    *word = (uint16_t)(at % 2 ? (*word & 0xff) | value << 8 : (*word & 0xff00) | value);
}

static void take_bit(struct spi *spi, bool bit)
{
    spi->shift = spi->shift << 1 | bit;
    spi->bits++;
    if (spi->bits == 8) {
        spi->operation = spi->shift & 0xff;
        if (spi->operation == WRITE_ENABLE || spi->operation == WRITE_DISABLE)
            spi->writable = spi->operation == WRITE_ENABLE;
    } else if (spi->bits == BEFORE_DATA) {
        spi->address = spi->shift & 0xffff;
    } else if (spi->operation == WRITE && spi->writable && spi->bits > BEFORE_DATA && spi->bits % 8 == 0) {
        set_byte(spi, spi->address + (spi->bits - BEFORE_DATA) / 8 - 1, (uint8_t)spi->shift);
    }
}

static bool next_bit(const struct spi *spi)
{
    uint32_t at = spi->bits - BEFORE_DATA;

    if (spi->operation == READ_STATUS)
        return (spi->writable ? 2 : 0) >> (7 - spi->bits % 8) & 1;
    return spi->operation == READ && spi->bits >= BEFORE_DATA && byte_of(spi, spi->address + at / 8) >> (7 - at % 8) & 1;
}

/* EEC is `before` and a driver writes `value`: it has the pins while EE_GNT answers its EE_REQ.  The chip takes bits at
 * rising edges of the clock and gives them at falling ones; EE_CS ends what was begun. */
static uint32_t write_eec(struct ixgbe *e, uint32_t before, uint32_t value)
{
    struct spi *spi = &e->spi;
    bool clock = value & EE_SK, was_clock = before & EE_SK;

    if (!(value & EE_REQ) || value & EE_CS) {
        if (spi->operation == WRITE && spi->bits > BEFORE_DATA)
            spi->writable = false;
        spi->bits = 0;
        spi->operation = 0;
        spi->out = false;
    } else if (clock && !was_clock) {
        take_bit(spi, value & EE_DI);
    } else if (!clock && was_clock) {
        spi->out = next_bit(spi);
    }
    return (before & ~(uint32_t)(EE_WRITABLE | EE_GNT | EE_DO)) | (value & EE_WRITABLE) | (value & EE_REQ ? EE_GNT : 0) |
           (spi->out ? EE_DO : 0);
}

/* A byte has come; whether it is acknowledged. */
static bool take_byte(struct i2c *i2c, uint8_t byte)
{
    switch (i2c->state) {
    case ADDRESSED:
        if (!i2c->page || byte >> 1 != MODULE) {
            i2c->next = IDLE;
            return false;
        }
        i2c->next = byte & 1 ? SENDING : OFFSET;
        return true;
    case OFFSET:
        i2c->at = byte;
        i2c->next = WRITTEN;
        return true;
    default: /* what it says of itself stays */
        return true;
    }
}

static void rising(struct i2c *i2c, bool bit)
{
    if (i2c->state == IDLE)
        return;
    i2c->count++;
    if (i2c->count <= 8)
        i2c->shift = (uint8_t)(i2c->shift << 1 | bit);
    else if (i2c->state == SENDING && bit) /* not acknowledged: enough */
        i2c->next = IDLE;
}

static void falling(struct i2c *i2c)
{
    i2c->line = true;
    if (i2c->count == 9) {
        i2c->count = 0;
        i2c->state = i2c->next;
        if (i2c->state == SENDING)
            i2c->shift = i2c->page[i2c->at++];
    } else if (i2c->count == 8 && i2c->state != IDLE && i2c->state != SENDING) {
        i2c->line = !take_byte(i2c, i2c->shift);
    }
    if (i2c->state == SENDING && i2c->count < 8)
        i2c->line = i2c->shift >> 7 & 1; /* the bits that were sent came back in at its other end */
}

/* Both lines are high unless somebody pulls them down: what is read is what is on them. */
static uint32_t write_i2c(struct ixgbe *e, uint32_t value)
{
    struct i2c *i2c = &e->i2c;
    bool clock = value & CLK_OUT, data = value & DATA_OUT;

    if (clock && i2c->clock && data != i2c->data) { /* data moves while the clock is high: a start, or a stop */
        i2c->state = data ? IDLE : ADDRESSED;
        i2c->next = i2c->state;
        i2c->count = 0;
        i2c->line = true;
    } else if (clock && !i2c->clock) {
        rising(i2c, data && i2c->line);
    } else if (!clock && i2c->clock) {
        falling(i2c);
    }
    i2c->clock = clock;
    i2c->data = data;
    return (value & (CLK_OUT | DATA_OUT)) | (clock ? CLK_IN : 0) | (data && i2c->line ? DATA_IN : 0);
}

bool ix_is_serial(uint32_t offset)
{
    return offset == EEC || offset == I2CCTL;
}

uint32_t ixgbe_serial_write(struct ixgbe *e, uint32_t offset, uint32_t before, uint32_t value)
{
    return offset == EEC ? write_eec(e, before, value) : write_i2c(e, value);
}
