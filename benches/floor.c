// The least a log server can do with a byte: receive it and write it to a file, or send a file to a socket.
//   floor receive PORT FILE   reads one connection to its end into FILE
//   floor send PORT FILE      sends FILE to one connection
// Prints the CPU seconds it took (user and system) and the bytes.
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

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: floor receive|send PORT FILE\n");
        return 2;
    }
    int receive = !strcmp(argv[1], "receive");
    int file = open(argv[3], receive ? O_CREAT | O_TRUNC | O_WRONLY : O_RDONLY, 0644);
    if (file < 0) {
        perror(argv[3]);
        return 1;
    }
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
            ssize_t sent = sendfile(client, file, NULL, stat.st_size - bytes);
            if (sent <= 0) {
                perror("sendfile");
                return 1;
            }
            bytes += sent;
        }
    }
    printf("{\"cpu_s\":%f,\"bytes\":%lld}\n", cpu() - before, bytes);
    return 0;
}
