// The least that three servers can do with a change that a quorum of them is to have on its disk.
//   floor_quorum OUTSTANDING SECONDS DIRECTORY
// So many clients, each with one change of 1 KiB under way; a leader that sends each change to two followers, writes it
// to its own file and waits for the disk; followers that do the same and say so; a reply when two of three have it.
// Whatever waits shares a write, a flush and a message. Each server is one thread over TCP on loopback; nothing is
// parsed, checked, decided or kept in memory. Prints one JSON object.
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHANGE = 1100, REPLY = 40, MOST = 1024, FILE_BYTES = 64 << 20, FOLLOWERS = 2 };

static void check(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static int listen_any(int *port) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    check(!bind(listener, (struct sockaddr *)&address, length) && !listen(listener, MOST), "listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    *port = ntohs(address.sin_port);
    return listener;
}

static int undelayed(int connection) {
    int yes = 1;
    check(connection >= 0 && !setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), "connection");
    return connection;
}

static int dial(int port) {
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    check(!connect(connection, (struct sockaddr *)&address, sizeof address), "connect");
    return undelayed(connection);
}

// A process of these ends with its connections.
static void read_all(int connection, char *into, int length) {
    for (int got; length; into += got, length -= got)
        if ((got = read(connection, into, length)) <= 0) exit(0);
}

static void write_all(int connection, const char *from, int length) {
    for (int sent; length; from += sent, length -= sent)
        if ((sent = write(connection, from, length)) <= 0) exit(0);
}

struct log {
    int file;
    off_t end;
};

// Its space is written before it is used: a flush has no metadata to write.
static struct log open_log(const char *directory, int number) {
    char path[4096];
    snprintf(path, sizeof path, "%s/floor-%d.data", directory, number);
    int file = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    check(file >= 0 && !unlink(path), path);
    char *zeros = calloc(1, 1 << 20);
    for (off_t at = 0; at < FILE_BYTES; at += 1 << 20) check(pwrite(file, zeros, 1 << 20, at) == 1 << 20, "write");
    check(!fsync(file), "fsync");
    free(zeros);
    return (struct log){file, 0};
}

static void append(struct log *log, const char *bytes, int length) {
    if (log->end + length > FILE_BYTES) log->end = 0;
    check(pwrite(log->file, bytes, length, log->end) == length && !fdatasync(log->file), "append");
    log->end += length;
}

static char batch[MOST * CHANGE];

static void follow(int listener, struct log log) {
    int leader = undelayed(accept(listener, NULL, NULL));
    for (int filled = 0;;) {
        int got = read(leader, batch + filled, sizeof batch - filled);
        if (got <= 0) exit(0);
        filled += got;
        int changes = filled / CHANGE, length = changes * CHANGE;
        if (!changes) continue;
        append(&log, batch, length);
        char reply[REPLY] = {0};
        memcpy(reply, &changes, sizeof changes);
        write_all(leader, reply, REPLY);
        filled -= length;
        memmove(batch, batch + length, filled);
    }
}

static void lead(int listener, int clients, struct log log, const int *ports) {
    struct pollfd ways[FOLLOWERS + MOST];
    for (int i = 0; i < FOLLOWERS; i++) ways[i] = (struct pollfd){dial(ports[i]), POLLIN, 0};
    for (int i = 0; i < clients; i++) ways[FOLLOWERS + i] = (struct pollfd){undelayed(accept(listener, NULL, NULL)), POLLIN, 0};
    // Who waits, in the order of the changes; at most one change of each client is open.
    int waiting[MOST], changes = 0;
    long proposed = 0, replied = 0, acked[FOLLOWERS] = {0};
    char reply[REPLY] = {0};
    for (;;) {
        check(poll(ways, FOLLOWERS + clients, -1) > 0, "poll");
        for (int i = 0; i < FOLLOWERS; i++)
            if (ways[i].revents) {
                read_all(ways[i].fd, reply, REPLY);
                int more;
                memcpy(&more, reply, sizeof more);
                acked[i] += more;
            }
        changes = 0;
        for (int i = FOLLOWERS; i < FOLLOWERS + clients; i++)
            if (ways[i].revents) {
                read_all(ways[i].fd, batch + changes++ * CHANGE, CHANGE);
                waiting[proposed++ % MOST] = ways[i].fd;
            }
        if (changes) {
            for (int i = 0; i < FOLLOWERS; i++) write_all(ways[i].fd, batch, changes * CHANGE);
            append(&log, batch, changes * CHANGE);
        }
        // With the leader's own a majority has what one of the others has.
        long committed = acked[0] > acked[1] ? acked[0] : acked[1];
        for (; replied < committed; replied++) write_all(waiting[replied % MOST], reply, REPLY);
    }
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void ask(int port, int clients, double milliseconds) {
    struct pollfd ways[MOST];
    double began[MOST], *took = malloc(sizeof(double) << 24);
    char change[CHANGE] = {0}, reply[REPLY];
    long count = 0;
    for (int i = 0; i < clients; i++) ways[i] = (struct pollfd){dial(port), POLLIN, 0};
    double start = now_ms(), now = start;
    for (int i = 0; i < clients; i++) {
        began[i] = now;
        write_all(ways[i].fd, change, CHANGE);
    }
    while (now < start + milliseconds && count < 1 << 24) {
        check(poll(ways, clients, -1) > 0, "poll");
        for (int i = 0; i < clients; i++)
            if (ways[i].revents) {
                read_all(ways[i].fd, reply, REPLY);
                now = now_ms();
                took[count++] = now - began[i];
                began[i] = now;
                write_all(ways[i].fd, change, CHANGE);
            }
    }
    qsort(took, count, sizeof(double), ascending);
    printf("{\"per_s\": %.1f, \"p50_ms\": %.4f, \"p99_ms\": %.4f}\n", count * 1e3 / (now - start), took[count / 2],
           took[count * 99 / 100]);
}

int main(int argc, char **argv) {
    int clients = argc == 4 ? atoi(argv[1]) : 0, ports[FOLLOWERS + 1], listeners[FOLLOWERS + 1];
    if (clients < 1 || clients > MOST) {
        fprintf(stderr, "floor_quorum OUTSTANDING SECONDS DIRECTORY\n");
        return 2;
    }
    struct log logs[FOLLOWERS + 1];
    for (int i = 0; i <= FOLLOWERS; i++) {
        listeners[i] = listen_any(&ports[i]);
        logs[i] = open_log(argv[3], i);
    }
    for (int i = 0; i <= FOLLOWERS; i++)
        if (!fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (i < FOLLOWERS) follow(listeners[i], logs[i]);
            else lead(listeners[i], clients, logs[i], ports);
        }
    ask(ports[FOLLOWERS], clients, atof(argv[2]) * 1e3);
    return 0;
}
