// The least a log server can do with a byte: receive it and write it to a file, or send a file to a socket.
//   floor receive PORT FILE   reads one connection to its end into FILE
//   floor send PORT FILE      sends FILE to one connection, 1 MiB for each byte that comes: a broker answers fetches
//   floor flush COUNT FILE    appends 1 KiB and waits for the disk, COUNT times
// Prints one JSON object: the CPU seconds (user and system) and the bytes, or the time of one flushed append.
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static int accept_one(int port) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1)) {
        perror("listen");
        exit(1);
    }
    int client = accept(listener, NULL, NULL);
    close(listener);
    return client;
}

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static int flush(int file, int count) {
    static char record[1024];
    double *taken = calloc(count, sizeof *taken);
    for (int i = 0; i < count; i++) {
        double started = now_ms();
        if (write(file, record, sizeof record) != sizeof record || fdatasync(file)) {
            perror("flush");
            return 1;
        }
        taken[i] = now_ms() - started;
    }
    qsort(taken, count, sizeof *taken, ascending);
    printf("{\"p50_ms\":%f,\"p99_ms\":%f}\n", taken[(count - 1) / 2], taken[(int)((count - 1) * 0.99)]);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: floor receive|send PORT FILE, or floor flush COUNT FILE\n");
        return 2;
    }
    int receive = !strcmp(argv[1], "receive"), flushing = !strcmp(argv[1], "flush");
    int file = open(argv[3], receive || flushing ? O_CREAT | O_TRUNC | O_WRONLY : O_RDONLY, 0644);
    if (file < 0) {
        perror(argv[3]);
        return 1;
    }
    if (flushing) return flush(file, atoi(argv[2]) > 0 ? atoi(argv[2]) : 1);
    int client = accept_one(atoi(argv[2]));
    double before = cpu();
    long long bytes = 0;
    if (receive) {
        static char buffer[1 << 20];
        ssize_t got;
        while ((got = recv(client, buffer, sizeof buffer, 0)) > 0) {
            for (ssize_t done = 0; done < got;) {
                ssize_t put = write(file, buffer + done, got - done);
                if (put <= 0) {
                    perror("write");
                    return 1;
                }
                done += put;
            }
            bytes += got;
        }
    } else {
        struct stat stat;
        fstat(file, &stat);
        while (bytes < stat.st_size) {
            char request;
            if (recv(client, &request, 1, 0) != 1) {
                perror("recv");
                return 1;
            }
            for (size_t left = 1 << 20; left > 0 && bytes < stat.st_size;) {
                ssize_t sent = sendfile(client, file, NULL, left);
                if (sent <= 0) {
                    perror("sendfile");
                    return 1;
                }
                left -= sent;
                bytes += sent;
            }
        }
    }
    printf("{\"cpu_s\":%f,\"bytes\":%lld}\n", cpu() - before, bytes);
    return 0;
}
