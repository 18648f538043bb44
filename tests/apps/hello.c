/* Greets from inside a container: once on its output with the kernel, pid and cgroup, then a line every second; and the same
 * greeting to whoever connects to TCP port 8080. */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { PORT = 8080 };

static volatile sig_atomic_t ended;

static void end(int signal) {
    (void)signal;
    ended = 1;
}

static void greet(char *text, size_t size) {
    struct utsname system;
    char cgroup[256] = "?";
    FILE *file = fopen("/proc/self/cgroup", "r");
    uname(&system);
    if (file) {
        if (fgets(cgroup, sizeof cgroup, file)) cgroup[strcspn(cgroup, "\n")] = 0;
        fclose(file);
    }
    snprintf(text, size, "hello from a container: %s %s on %s, pid %d, cgroup %s", system.sysname, system.release,
             system.nodename, (int)getpid(), cgroup);
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(sock, (struct sockaddr *)&address, sizeof address) || listen(sock, 8)) {
        perror("hello: cannot listen");
        close(sock);
        return -1;
    }
    return sock;
}

static void answer(int listener, const char *text) {
    int client = accept(listener, 0, 0);
    if (client < 0) return;
    dprintf(client, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s\n", strlen(text) + 1, text);
    shutdown(client, SHUT_WR);
    close(client);
}

int main(void) {
    char text[1024];
    signal(SIGTERM, end);
    signal(SIGINT, end);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, 0, _IOLBF, 0);
    greet(text, sizeof text);
    puts(text);
    struct pollfd listener = {.fd = listen_on(PORT), .events = POLLIN};
    for (unsigned seconds = 1; !ended;) {
        if (poll(&listener, 1, 1000) > 0)
            answer(listener.fd, text);
        else
            printf("hello again, %u\n", seconds++);
    }
    puts("hello: told to end");
    return 0;
}
