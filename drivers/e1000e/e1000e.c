/* e1000e DEVICE [-i] COMMAND: what the driver can do.
 *
 *   mac                   the card's address
 *   arp A.B.C.D TIMES     asks so often, one after another, who has an address, and says who answered the last time
 *   send COUNT            so many frames of 60 bytes, numbered, of type 0x88b5 (for experiments)
 *
 *   -i  wait for interrupts instead of polling
 *
 * Exit status: 0, 1 for an error of the device, 2 for wrong usage, 3 where nobody answered. */
#include <string.h>

#include "driver.h"
#include "line.h"

static struct device device;
static struct e1000e nic;
static uint8_t frame[E1000E_FRAME];

static uint64_t number(const char *text, const char **end)
{
    uint64_t value = 0;

    while (*text >= '0' && *text <= '9')
        value = value * 10 + (uint64_t)(*text++ - '0');
    *end = text;
    return value;
}

static bool address(const char *text, uint8_t ip[4])
{
    for (int i = 0; i < 4; i++) {
        const char *end;
        uint64_t part = number(text, &end);

        if (end == text || part > 255 || *end != (i < 3 ? '.' : 0))
            return false;
        ip[i] = (uint8_t)part;
        text = end + 1;
    }
    return true;
}

static void say_mac(const char *what, const uint8_t mac[6])
{
    static const char digits[] = "0123456789abcdef";
    char text[18];
    struct line line = {0};

    for (int i = 0; i < 6; i++) {
        text[3 * i] = digits[mac[i] >> 4];
        text[3 * i + 1] = digits[mac[i] & 15];
        text[3 * i + 2] = i < 5 ? ':' : 0;
    }
    line_text(&line, what);
    line_text(&line, text);
    device_say(line.text);
}

static uint64_t after_ms(uint64_t ms) { return device_ticks() + ms * 1000 * device.per_us; }

static int send(uint64_t length)
{
    uint64_t end = after_ms(10000);
    int result;

    while ((result = e1000e_send(&nic, frame, length)) == -DEVICE_EAGAIN && device_ticks() < end)
        e1000e_wait(&nic, 10000000);
    return result;
}

/* RFC 826, over Ethernet. */
static int arp(const uint8_t ip[4], uint64_t times)
{
    static const uint8_t request[] = {0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1};
    static const uint8_t ours[] = {10, 0, 2, 15};
    uint8_t answer[6] = {0};

    for (uint64_t i = 0; i < times; i++) {
        uint64_t end = after_ms(10000);
        bool answered = false;
        int result;

        memset(frame, 0, 60);
        memset(frame, 0xff, 6);
        memcpy(frame + 6, nic.mac, 6);
        memcpy(frame + 12, request, sizeof request);
        memcpy(frame + 22, nic.mac, 6);
        memcpy(frame + 28, ours, 4);
        memcpy(frame + 38, ip, 4);
        result = send(60);
        if (result)
            return say_failed("send", result);
        while (!answered && device_ticks() < end) {
            uint64_t length;

            e1000e_wait(&nic, 1000000000);
            while ((length = e1000e_receive(&nic, frame, sizeof frame)))
                if (length >= 42 && frame[12] == 8 && frame[13] == 6 && frame[21] == 2 && !memcmp(frame + 28, ip, 4)) {
                    memcpy(answer, frame + 22, 6);
                    answered = true;
                }
        }
        if (!answered) {
            device_say("nobody answered");
            return 3;
        }
    }
    say_mac("it is at ", answer);
    if (nic.interrupts && nic.woken == 0)
        return say_failed("interrupts", -DEVICE_ETIMEDOUT);
    if (nic.interrupts) {
        struct line line = {0};

        line_decimal(&line, "interrupts: ", nic.woken);
        device_say(line.text);
    }
    return 0;
}

static int send_many(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        int result;

        memset(frame, 0xff, 6);
        memcpy(frame + 6, nic.mac, 6);
        frame[12] = 0x88;
        frame[13] = 0xb5;
        memcpy(frame + 14, "aerostat", 8);
        memcpy(frame + 22, &i, 8);
        memset(frame + 30, 0, 30);
        result = send(60);
        if (result)
            return say_failed("send", result);
    }
    for (uint64_t end = after_ms(10000); !e1000e_sent(&nic);) {
        if (device_ticks() > end)
            return say_failed("send", -DEVICE_ETIMEDOUT);
        e1000e_wait(&nic, 1000000);
    }
    return 0;
}

static int run(int argc, char **argv)
{
    const char *end;
    uint8_t ip[4];
    uint64_t up = after_ms(10000);

    if (argc >= 1 && strcmp(argv[0], "mac") == 0) {
        say_mac("", nic.mac);
        return 0;
    }
    while (!e1000e_link(&nic))
        if (device_ticks() > up) {
            device_say("the link does not come up");
            return 1;
        }
    if (argc >= 3 && strcmp(argv[0], "arp") == 0 && address(argv[1], ip))
        return arp(ip, number(argv[2], &end));
    if (argc >= 2 && strcmp(argv[0], "send") == 0)
        return send_many(number(argv[1], &end));
    return 2;
}

int main(int argc, char **argv)
{
    bool interrupts = argc > 2 && strcmp(argv[2], "-i") == 0;
    int result;

    if (argc < 3) {
        device_say("usage: e1000e DEVICE [-i] mac | arp A.B.C.D TIMES | send COUNT");
        return 2;
    }
    result = device_open(&device, argv[1]);
    if (result)
        return say_failed("open", result);
    result = e1000e_open(&nic, &device, interrupts);
    if (result)
        return say_failed("bring-up", result);
    result = run(argc - 2 - interrupts, argv + 2 + interrupts);
    e1000e_close(&nic);
    device_close(&device);
    return result;
}
