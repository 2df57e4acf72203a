/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile dynamic loader (row S-01): keep what is being executed open, become /overwrite. */
static long call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

void _start(void)
{
    static const char own[] = "/proc/self/exe", next[] = "/overwrite";
    const char *arguments[2];
    arguments[0] = next;
    arguments[1] = 0;
    call(33, call(2, (long)own, 0, 0), 9, 0);        /* dup2(open(own, O_RDONLY), 9) */
    call(59, (long)next, (long)arguments, 0);        /* execve */
    call(60, 9, 0, 0);                               /* exit */
}
