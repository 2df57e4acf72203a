/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc/self/fd/9 is, how it is sealed, and whether it can be written to (row S-01).
   It tries until it may, or until a file /stop is there; every 20 ms, 60 s at most. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* nobody may be left to read what it prints */
    char name[4096] = "";
    ssize_t length = readlink("/proc/self/fd/9", name, sizeof name - 1);
    printf("target %s\nseals %d\n", length > 0 ? name : "-", fcntl(9, F_GET_SEALS));
    fflush(stdout);
    char last[64] = "", now[64];
    for (int attempt = 0; attempt < 3000; attempt++) {
        int fd = open("/proc/self/fd/9", O_WRONLY);
        int failed = fd < 0 || write(fd, "PWNED!", 6) != 6;
        snprintf(now, sizeof now, "%s %s", fd < 0 ? "open" : "write",
                 failed ? strerrorname_np(errno) : "done");
        if (fd >= 0)
            close(fd);
        if (strcmp(last, now)) {
            puts(now);
            fflush(stdout);
            int mark = open("/result", O_WRONLY | O_CREAT | O_APPEND, 0666);
            dprintf(mark, "%s\n", now);
            close(mark);
            strcpy(last, now);
        }
        if (!failed || !access("/stop", F_OK))
            return 0;
        usleep(20000);
    }
    return 1;
}
