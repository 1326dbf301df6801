/* The floor: what a child, a round trip and a stream cost with nothing but the kernel. The other side
   is a fork at the other end of a socket pair, as a wrapper is; with `relay` a third process stands
   between the two and passes on what comes, as the master does. Prints what each took, in ns. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char bytes[1 << 20];

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void must(int holds) {
    if (holds) return;
    perror("floor");
    _exit(1);
}

static void all(int fd, ssize_t (*call)(int, void *, size_t), size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t n = call(fd, bytes + done, length - done);
        must(n > 0);
        done += n;
    }
}

static ssize_t put(int fd, void *from, size_t length) { return write(fd, from, length); }

static void sleep_for(long ns) {
    struct timespec t = {ns / 1000000000L, ns % 1000000000L};
    if (ns) nanosleep(&t, NULL);
}

static void echo(int fd, size_t size) {
    for (ssize_t n; (n = read(fd, bytes, size)) > 0;) all(fd, put, n);
    _exit(0);
}

static void take(int fd) {
    while (read(fd, bytes, sizeof bytes) > 0) {}
    all(fd, put, 1);
    _exit(0);
}

/* Passes on what comes, in both directions, until either side is done. */
static void relay(int left, int right) {
    struct pollfd ends[2] = {{left, POLLIN, 0}, {right, POLLIN, 0}};
    for (int open = 2; open;) {
        must(poll(ends, 2, -1) > 0);
        for (int i = 0; i < 2; i++) {
            if (!ends[i].revents) continue;
            int from = ends[i].fd, to = i ? left : right;
            ssize_t n = read(from, bytes, 1 << 16);
            must(n >= 0);
            if (n) {
                all(to, put, n);
            } else {
                shutdown(to, SHUT_WR);
                ends[i].fd = -1;
                open--;
            }
        }
    }
    _exit(0);
}

/* The near end of a pair with a child behind it that does this. */
static int start(int with_relay, size_t size, int takes) {
    int near[2], far[2];
    must(!socketpair(AF_UNIX, SOCK_STREAM, 0, near) && !socketpair(AF_UNIX, SOCK_STREAM, 0, far));
    if (with_relay) {
        if (!fork()) {
            close(near[0]), close(far[1]);
            relay(near[1], far[0]);
        }
    } else {
        close(far[0]), close(far[1]);
        far[1] = near[1];
    }
    if (!fork()) {
        close(near[0]);
        if (with_relay) close(near[1]), close(far[0]);
        if (takes) take(far[1]);
        echo(far[1], size);
    }
    close(near[1]);
    if (with_relay) close(far[0]), close(far[1]);
    return near[0];
}

/* fork COUNT ROW PAUSE | trip|relay-trip COUNT SIZE | stream|relay-stream COUNT SIZE BYTES */
int main(int argc, char **argv) {
    must(argc > 4);
    int with_relay = !strncmp(argv[1], "relay-", 6);
    const char *what = argv[1] + (with_relay ? 6 : 0);
    long count = atol(argv[2]), size = atol(argv[3]), more = atol(argv[4]);
    int fd = strcmp(what, "trip") ? -1 : start(with_relay, size, 0);
    for (long i = 0; i < count; i++) {
        long began = now(), took;
        if (!strcmp(what, "fork")) {
            int pair[2];
            must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
            pid_t child = fork();
            must(child >= 0);
            if (!child) _exit(write(pair[1], bytes, 1) != 1);
            all(pair[0], read, 1);
            took = now() - began;
            must(waitpid(child, NULL, 0) == child);
            close(pair[0]), close(pair[1]);
            if ((i + 1) % size == 0) sleep_for(more);
        } else if (!strcmp(what, "trip")) {
            all(fd, put, size);
            all(fd, read, size);
            took = now() - began;
        } else {
            fd = start(with_relay, size, 1);
            began = now();
            for (long left = more; left > 0; left -= size) all(fd, put, left < size ? left : size);
            shutdown(fd, SHUT_WR);
            all(fd, read, 1);
            took = now() - began;
            close(fd);
        }
        printf("%ld\n", took);
    }
    return 0;
}
