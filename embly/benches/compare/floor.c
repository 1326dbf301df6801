/* The floor: what the kernel takes for a process, and for a word to one that waits, with nothing
   else around it.

   floor MODE SECONDS PARENTS prints how often a second so many parents together have done it.
   fork: fork, exit, wait. filter: the same, where a seccomp filter is inherited. socket: a byte to
   a waiting process and one back. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* What is not listed ends the process. */
static int enter_filter(void) {
    static const int allowed[] = {
        SYS_clone, SYS_wait4, SYS_exit_group, SYS_exit, SYS_clock_gettime, SYS_read, SYS_write,
        SYS_close, SYS_getpid, SYS_gettid, SYS_set_robust_list, SYS_set_tid_address,
        SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_futex, SYS_madvise, SYS_munmap, SYS_sendto,
        SYS_recvfrom, SYS_prctl,
    };
    enum { COUNT = sizeof allowed / sizeof *allowed };
    struct sock_filter code[COUNT + 3];
    code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int at = 0; at < COUNT; at++)
        code[1 + at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[at], COUNT - at, 0);
    code[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = COUNT + 3, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int fork_once(void) {
    pid_t child = fork();
    if (!child) _exit(0);
    return child < 0 || waitpid(child, NULL, 0) < 0;
}

/* A process that sends back what it hears, until nobody speaks any more. */
static int start_echo(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return -1;
    pid_t child = fork();
    if (child < 0) return -1;
    if (!child) {
        close(ends[0]);
        for (char byte; read(ends[1], &byte, 1) == 1 && write(ends[1], &byte, 1) == 1;) {}
        _exit(0);
    }
    close(ends[1]);
    return ends[0];
}

static int ask_once(int echo) {
    char byte = 0;
    return write(echo, &byte, 1) != 1 || read(echo, &byte, 1) != 1;
}

static int parent(const char *mode, double seconds, int results) {
    int echo = -1;
    if (!strcmp(mode, "filter") && enter_filter()) return 1;
    if (!strcmp(mode, "socket") && (echo = start_echo()) < 0) return 1;
    long count = 0;
    for (double end = now() + seconds; now() < end; count++)
        if (echo < 0 ? fork_once() : ask_once(echo)) return 1;
    return write(results, &count, sizeof count) != sizeof count;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    double seconds = atof(argv[2]);
    int parents = atoi(argv[3]), results[2];
    if (pipe(results)) return 1;
    for (int n = 0; n < parents; n++) {
        pid_t child = fork();
        if (child < 0) return 1;
        if (!child) _exit(parent(argv[1], seconds, results[1]));
    }
    close(results[1]);
    double sum = 0;
    for (int n = 0; n < parents; n++) {
        long count;
        if (read(results[0], &count, sizeof count) != sizeof count) return 1;
        sum += count / seconds;
    }
    printf("%.1f\n", sum);
    return 0;
}
