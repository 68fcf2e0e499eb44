/* A producer and a consumer with a ring of items between them, in pages that both map.
 *
 * The pages are shared once, by a message.  From then on items pass without the kernel: on two cores the two work
 * at the same time.  Only who finds the ring full, or empty, waits at an endpoint, its bell, until the other rings. */
#include <aero.h>

#define RING_BYTES (2 * AERO_PAGE_SIZE)
#define SLOTS 512UL
#define ITEMS 50000UL
#define IN_PRODUCER 0x300000000UL
#define IN_CONSUMER 0x400000000UL /* what they share may lie anywhere in each */

struct ring {
    uint64_t written; /* items so far; only the producer writes it */
    uint64_t read;    /* only the consumer */
    uint32_t producer_waits, consumer_waits;
    uint64_t slots[SLOTS];
};

_Static_assert(sizeof(struct ring) <= RING_BYTES, "the ring fits");

/* The handles that each side has, of the same two endpoints. */
struct bells {
    aero_handle items; /* the consumer waits here */
    aero_handle room;  /* the producer */
};

/* Waits at the bell, unless `other` has moved on from `seen` by the time the other side can see that we wait.  All is
 * sequentially consistent: either we see its step, or it sees our flag. */
static void await(uint32_t *waits, const uint64_t *other, uint64_t seen, aero_handle bell)
{
    struct aero_message nothing = {0};

    __atomic_store_n(waits, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(other, __ATOMIC_SEQ_CST) != seen && __atomic_exchange_n(waits, 0, __ATOMIC_SEQ_CST))
        return; /* had the flag been taken already, the bell would be about to ring */
    aero_must(aero_message_receive(bell, AERO_FOREVER, &nothing), "message_receive");
}

/* Rings the bell if the other side waits. */
static void ring_bell(uint32_t *waits, aero_handle bell)
{
    struct aero_message nothing = {0};

    if (__atomic_exchange_n(waits, 0, __ATOMIC_SEQ_CST))
        aero_must(aero_message_send(bell, AERO_FOREVER, &nothing), "message_send");
}

static int produce(void *argument)
{
    struct bells bells = *(struct bells *)argument;
    struct ring *ring = (struct ring *)IN_PRODUCER;
    struct aero_message first = {.item = AERO_SHARE(RING_BYTES, AERO_READ | AERO_WRITE), .object = IN_PRODUCER};

    aero_must(aero_mmap(IN_PRODUCER, RING_BYTES, AERO_READ | AERO_WRITE), "mmap");
    aero_must(aero_message_send(bells.items, AERO_FOREVER, &first), "message_send of the ring");
    for (uint64_t i = 0; i < ITEMS; i++) {
        uint64_t read = __atomic_load_n(&ring->read, __ATOMIC_SEQ_CST);

        while (i - read == SLOTS) {
            await(&ring->producer_waits, &ring->read, read, bells.room);
            read = __atomic_load_n(&ring->read, __ATOMIC_SEQ_CST);
        }
        ring->slots[i % SLOTS] = i * i;
        __atomic_store_n(&ring->written, i + 1, __ATOMIC_SEQ_CST);
        ring_bell(&ring->consumer_waits, bells.items);
    }
    return 0;
}

/* Returns how many items were not what they should have been. */
static uint64_t consume(struct bells bells)
{
    struct ring *ring = (struct ring *)IN_CONSUMER;
    struct aero_message first = {0};
    uint64_t wrong = 0;

    aero_must(aero_message_accept(IN_CONSUMER, RING_BYTES, 0), "message_accept");
    aero_must(aero_message_receive(bells.items, AERO_FOREVER, &first), "message_receive of the ring");
    for (uint64_t i = 0; i < ITEMS; i++) {
        uint64_t written = __atomic_load_n(&ring->written, __ATOMIC_SEQ_CST);

        while (written == i) {
            await(&ring->consumer_waits, &ring->written, written, bells.items);
            written = __atomic_load_n(&ring->written, __ATOMIC_SEQ_CST);
        }
        wrong += ring->slots[i % SLOTS] != i * i;
        __atomic_store_n(&ring->read, i + 1, __ATOMIC_SEQ_CST);
        /* Waking the producer for each slot would mean two calls an item: it is worth it for half a ring. */
        if ((i + 1) % (SLOTS / 2) == 0)
            ring_bell(&ring->producer_waits, bells.room);
    }
    return wrong;
}

int main(void)
{
    struct bells bells, given;
    struct aero_child producer;
    uint64_t wrong;

    bells.items = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create");
    bells.room = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create");
    aero_must(aero_child_create(&producer, 0), "aero_child_create");
    given.items = (aero_handle)aero_must(aero_handle_give(producer.process, bells.items, AERO_SEND), "handle_give");
    given.room = (aero_handle)aero_must(aero_handle_give(producer.process, bells.room, AERO_RECEIVE), "handle_give");
    /* The far end of the child's stack is a good place for what it is to know. */
    *(struct bells *)producer.stack = given;
    aero_must(aero_child_start(&producer, produce, (void *)producer.stack), "aero_child_start");

    wrong = consume(bells);
    aero_print_number(ITEMS);
    aero_print(" items, ");
    aero_print_number((int64_t)wrong);
    aero_print(" wrong; the producer ended with ");
    aero_print_number(aero_must(aero_child_wait(&producer), "aero_child_wait"));
    aero_print("\n");
    return wrong != 0;
}
