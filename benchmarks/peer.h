/* Connections of the load generators: non-blocking, one epoll set, output that waits, input that grows. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shared.h"

#define READ_BYTES (4 << 20)

typedef struct {
    int fd;
    char *in;
    size_t in_len, in_cap;
    char *out;
    size_t out_len, out_at, out_cap;
    int in_flight, want_write;
    int queue; /* a sender's first, the waiting consumer's only one */
} Conn;

static int poll_fd;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static Conn *connect_to(const char *host, int port) {
    Conn *c = calloc(1, sizeof *c);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    inet_pton(AF_INET, host, &a.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->in_cap = 1 << 16, c->in = malloc(c->in_cap);
    c->out_cap = 1 << 16, c->out = malloc(c->out_cap);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e);
    return c;
}

static char *reserve(Conn *c, size_t n) {
    if (c->out_at && c->out_at == c->out_len) c->out_at = c->out_len = 0;
    if (c->out_len + n > c->out_cap) {
        while (c->out_len + n > c->out_cap) c->out_cap *= 2;
        c->out = realloc(c->out, c->out_cap);
    }
    char *p = c->out + c->out_len;
    c->out_len += n;
    return p;
}

static void flush(Conn *c) {
    while (c->out_at < c->out_len) {
        ssize_t n = write(c->fd, c->out + c->out_at, c->out_len - c->out_at);
        if (n < 0) {
            if (errno == EAGAIN) break;
            die("write");
        }
        c->out_at += (size_t)n;
    }
    int want = c->out_at < c->out_len;
    if (want != c->want_write) {
        struct epoll_event e = {.events = EPOLLIN | (want ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e);
        c->want_write = want;
    }
}

static int read_more(Conn *c) {
    if (c->in_cap - c->in_len < 65536) c->in = realloc(c->in, c->in_cap *= 2);
    ssize_t n = read(c->fd, c->in + c->in_len, c->in_cap - c->in_len);
    if (n == 0) {
        fprintf(stderr, "the server closed a connection\n");
        exit(3);
    }
    if (n < 0) {
        if (errno == EAGAIN) return 0;
        die("read");
    }
    c->in_len += (size_t)n;
    return 1;
}

static int64_t count_records(const char *body, size_t len) {
    int64_t n = 0;
    for (size_t at = 0; at + 4 <= len; n++) {
        uint32_t size = get4(body + at);
        if (size < 91) break;
        at += size;
    }
    return n;
}
