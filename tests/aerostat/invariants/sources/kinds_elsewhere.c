/* The other file of kinds.c: variables and types that it knows by name only. */

struct hidden {
    int secret;
    struct hidden *self;
};
static struct hidden the_hidden = { 1234, &the_hidden };
struct hidden *hidden = &the_hidden;
int elsewhere = 55;

static int twice = 2;
static int global_wins = 2;

int counted(void);
int touch_elsewhere(void);

int counted(void)
{
    static int count = 10;

    return ++count;
}

int touch_elsewhere(void)
{
    static int count = 100;

    twice += ++count;
    return ++global_wins + twice;
}
