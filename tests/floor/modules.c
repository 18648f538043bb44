/* Loads every kernel module that /modules lists, one path in each line, and says how each went. Powers the machine off at the end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COMPRESSED 4 /* MODULE_INIT_COMPRESSED_FILE */

static int load(const char *path) {
    const char *end = strrchr(path, '.');
    int flags = end && strcmp(end, ".ko") ? COMPRESSED : 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return errno;
    int failed = syscall(SYS_finit_module, file, "", flags) ? errno : 0;
    close(file);
    return failed == EEXIST ? 0 : failed;
}

int main(void) {
    char path[256];
    mkdir("/dev", 0755);
    mount("dev", "/dev", "devtmpfs", 0, "");
    mkdir("/sys", 0755);
    mount("sys", "/sys", "sysfs", 0, "");
    if (freopen("/dev/console", "w", stdout)) setvbuf(stdout, 0, _IOLBF, 0);
    FILE *list = fopen("/modules", "r");
    while (list && fgets(path, sizeof path, list)) {
        path[strcspn(path, "\n")] = 0;
        int failed = load(path);
        printf("modules: %s %s\n", path, failed ? strerrorname_np(failed) : "loaded");
    }
    puts("modules: end");
    sync();
    reboot(RB_POWER_OFF);
    for (;;) pause();
}
