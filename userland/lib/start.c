/* The first instructions of a program without a C library: argc, argv and envp from the stack (System V ABI, AMD64
 * supplement, 3.4.1), then main, then process_exit with what it returned. */
#include "aero.h"

char **environ;
int main(int argc, char **argv, char **envp);
_Noreturn void aero_start(uint64_t *stack);

__asm__(".text\n"
        ".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    xor %ebp, %ebp\n" /* the outermost frame */
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call aero_start\n"
        "    ud2\n"
        ".size _start, . - _start\n");

__attribute__((used)) void aero_start(uint64_t *stack)
{
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);

    environ = argv + argc + 1;
    aero_process_exit((uint64_t)(unsigned)main(argc, argv, environ));
}
