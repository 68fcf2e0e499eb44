/* What every C program begins with. */
#include <stdio.h>

int main(void)
{
    printf("hello from libc\n");
    return 0;
}
