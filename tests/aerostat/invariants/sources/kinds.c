/* Variables of every kind of type, for tests that read them by name; kinds_elsewhere.c has some more. */
#include <aero.h>

typedef enum { RED, GREEN = 5, BLUE = 7 } color_t;
enum sign { MINUS = -1, ZERO, PLUS };

typedef struct point {
    int x, y;
} point;
typedef point point_alias;
typedef point_alias *point_pointer;

signed char small = -5;
unsigned char byte = 250;
short shorter = -30000;
unsigned short word = 60000;
int number = -2000000000;
unsigned natural = 4000000000u;
long longer = -9000000000000000000l;
unsigned long widest = 18446744073709551615ul;
__int128 huge = -((__int128)1 << 100);
_Bool yes = 1, no;
char letter = 'q';
float half = 0.5f;
double third = 1.0 / 3;
long double extended = 1.0L / 3;
_Complex double imaginary = 3.0 + 4.0i;
color_t color = GREEN;
enum sign sign = MINUS;
color_t strange_color = (color_t)99;
const volatile int constant_volatile = 77;
_Atomic int atomic = 12;

point origin = { 3, -4 };
point_alias alias = { 8, 9 };
point *pointer = &origin;
point **pointer_to_pointer = &pointer;
point_pointer null_pointer;
point *wild = (point *)0x123456789000;
void *nothing = &origin;
int *into_array;

union overlay {
    unsigned whole;
    unsigned char parts[4];
} overlay = { 0x04030201 };

struct flags {
    unsigned a : 3;
    int b : 5;
    unsigned long c : 40;
    _Bool d : 1;
    color_t e : 4;
    unsigned f : 9;
} flags = { 5, -7, 0xabcdef0123, 1, BLUE, 300 };

struct nested {
    int type; /* names that Python or a view could have a use of its own for */
    int address;
    int string;
    int _space;
    union {
        int as_int;
        float as_float;
    };
    struct {
        int deep;
        struct {
            int deeper;
        };
    };
    struct inner {
        point points[2];
    } inner;
} nested = { 1, 2, 3, 4, { 1065353216 }, { 5, { 6 } }, { { { 10, 11 }, { 12, 13 } } } };

int row[5] = { 10, 20, 30, 40, 50 };
int matrix[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };
point points[3] = { { 1, 2 }, { 3, 4 }, { 5, 6 } };
char text[16] = "a string";
char full[4] = { 'f', 'u', 'l', 'l' };
const char *message = "pointed to";
const char *words[] = { "one", "two", "three" };

struct node {
    struct node *next;
    int key;
} nodes[3] = { { &nodes[1], 1 }, { &nodes[2], 2 }, { 0, 3 } };
struct node *head = nodes;
struct node ring = { &ring, 42 };

struct trailing {
    int count;
    int rest[];
};
union {
    struct trailing trailing;
    int storage[4];
} flexible = { .storage = { 3, 100, 200, 300 } };

struct __attribute__((packed)) packed {
    char c;
    int i;
    long l;
} packed = { 'p', 123456789, -1 };

/* Across the border of two pages. */
static struct {
    char before[4093];
    struct packed packed;
} __attribute__((aligned(4096), packed)) crossing = { .packed = { 'x', 0x11223344, 0x5566778899aabbcc } };

static int doubled(int x)
{
    return 2 * x;
}
int (*function)(int) = doubled;
void (*no_function)(void);

struct hidden; /* kinds_elsewhere.c says what is in it */
extern struct hidden *hidden;
struct never_defined;
struct never_defined *opaque = (struct never_defined *)&origin;
extern int elsewhere;
int counted(void);
int touch_elsewhere(void);

static int twice = 1;
int global_wins = 1;

#ifdef THREAD_LOCAL
__thread int per_thread = 31;
__thread long per_thread_too = 32;
#endif

static const int folded = 7;

int main(int argc, char **argv)
{
    static int calls_of_main = 3;

    (void)argv;
    into_array = &row[1];
    twice += argc + folded;
    calls_of_main += counted() + counted() + touch_elsewhere();
#ifdef THREAD_LOCAL
    per_thread += argc;
#endif
    aero_null();
    return elsewhere + twice + calls_of_main == 0 || function(1) == 0;
}
