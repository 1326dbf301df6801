/* The floor: fork, exit, wait, with one parent per core and nothing else. Prints the number of
   processes per second. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int results[2];
    if (pipe(results)) return 1;
    for (long core = 0; core < cores; core++) {
        if (fork()) continue;
        long count = 0;
        for (double end = now() + seconds; now() < end; count++) {
            pid_t child = fork();
            if (!child) _exit(0);
            if (child < 0 || waitpid(child, NULL, 0) < 0) return 1;
        }
        return write(results[1], &count, sizeof count) != sizeof count;
    }
    long sum = 0, count;
    for (long core = 0; core < cores; core++) {
        if (read(results[0], &count, sizeof count) != sizeof count) return 1;
        sum += count;
    }
    printf("%.0f\n", sum / seconds);
    return 0;
}
