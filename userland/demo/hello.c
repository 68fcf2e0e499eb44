/* The smallest native program: no C library, one system call to print and one, made by the start code, to exit. */
#include <aero.h>

int main(void)
{
    return aero_failed(aero_print("hello from ring 3\n"));
}
