/* The floor: the least a PID 1 can be. It says when it began and how much memory is left, and powers off. */
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void say_memory(void) {
    char line[128];
    FILE *file = fopen("/proc/meminfo", "r");
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        long kib;
        if (sscanf(line, "MemTotal: %ld", &kib) == 1) printf("floor: mem_total_kib=%ld\n", kib);
        if (sscanf(line, "MemAvailable: %ld", &kib) == 1) printf("floor: mem_available_kib=%ld\n", kib);
    }
    fclose(file);
}

int main(void) {
    struct timespec now;
    struct timespec rest = {0, 500 * 1000 * 1000};
    clock_gettime(CLOCK_BOOTTIME, &now);
    printf("floor: boottime_usec=%lld\n", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    mkdir("/proc", 0755);
    mount("proc", "/proc", "proc", 0, "");
    nanosleep(&rest, 0); /* what the kernel frees after starting PID 1 is free by then */
    say_memory();
    printf("floor: end\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    for (;;) pause();
}
