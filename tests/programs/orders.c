/* Makes the system calls that the host orders, one after another, for ever:  orders
 *
 * The loop asks by call 0x2000, with the last call's result in rdi; the host answers with a number and six arguments in
 * the registers, and the loop makes that call.  It needs no stack and runs wherever its page is mapped: it is what all
 * threads and child processes start at that calls at random create. */
#include <aero.h>

__asm__(".text\n"
        ".balign 4096\n"
        ".globl obey\n"
        "obey:\n"
        "    xor %edi, %edi\n"
        "1:  mov $0x2000, %eax\n"
        "    syscall\n"
        "    syscall\n"
        "    mov %rax, %rdi\n"
        "    jmp 1b\n"
        ".balign 4096\n");

int obey(void);

int main(void)
{
    return obey();
}
