/* The least a broker can do: a server that costs what the kernel costs, and nothing else.
 *
 *   floor PORT FILE SPIN_US async|sync
 *
 * It takes the load generator's frames, appends the bytes of each read to FILE in one pwrite, with `sync` one fdatasync for
 * all that was read at once, and answers in one write a connection, with answers as long as a broker's. Pulls are answered
 * with constant records from memory, or wait for the next send. No header is understood beyond what that needs; there are
 * no topics, no queues, no index, no recovery. With SPIN_US it looks for more so long before it sleeps.
 * What no broker can beat on a machine is what this one reaches there.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shared.h"

#define READ_BYTES (1 << 18)
#define FILE_BYTES (1ll << 30)
#define RECORD_BYTES 318 /* 128 B of body, the properties of the generator, those of a broker */
#define PULL_COUNT 32
#define EVENTS 256

typedef struct {
    int fd, at; /* `at`: place in the list of those with answers, or -1 */
    char *in, *out;
    size_t in_len, in_cap, out_len, out_cap;
    int primed, waits; /* its first waiting pull was answered; another one waits, */
    uint32_t opaque;   /* with this number */
} Conn;

static int log_fd, epoll_fd, synced;
static int64_t log_at;
static Conn *answered[EVENTS];
static int answered_count, unsynced;
static Conn *waiting;
static char record[PULL_COUNT * RECORD_BYTES];

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000ull + (uint64_t)t.tv_nsec / 1000;
}

static char *reserve(Conn *c, size_t n) {
    if (c->out_len + n > c->out_cap) {
        while (c->out_len + n > c->out_cap) c->out_cap *= 2;
        c->out = realloc(c->out, c->out_cap);
    }
    if (!c->out_len && c->at < 0) c->at = answered_count, answered[answered_count++] = c;
    char *p = c->out + c->out_len;
    c->out_len += n;
    return p;
}

/* A binary answer: 21 bytes of header, so many of fields, a body. */
static void answer(Conn *c, uint32_t opaque, size_t fields, const char *body, size_t body_len) {
    size_t head = 21 + fields;
    char *p = reserve(c, 8 + head + body_len);
    put4(p, (uint32_t)(4 + head + body_len)), put4(p + 4, (uint32_t)head | 1u << 24);
    memset(p + 8, 0, head);
    put4(p + 8 + 5, opaque), p[8 + 12] = 1, put4(p + 8 + 17, (uint32_t)fields);
    if (body_len) memcpy(p + 8 + head, body, body_len);
}

static void answer_json(Conn *c, const char *header, size_t size) {
    char text[512];
    const char *o = memmem(header, size, "\"opaque\":", 9);
    int n = sprintf(text, "{\"code\":0,\"extFields\":{\"x\":\"%0180d\"},\"flag\":1,\"language\":\"JAVA\",\"opaque\":%lld,\"version\":513}", 0, o ? atoll(o + 9) : 0);
    char *p = reserve(c, 8 + (size_t)n);
    put4(p, (uint32_t)(4 + n)), put4(p + 4, (uint32_t)n);
    memcpy(p + 8, text, (size_t)n);
}

/* One that may wait gets one record: the first at once, for the generator to begin, the others with the next send. */
static void pulled(Conn *c, const char *header, size_t size, uint32_t opaque) {
    const char *s = memmem(header, size, "suspendTimeoutMillis", 20);
    int may_wait = s && s[24] != '0';
    if (may_wait && c->primed)
        c->waits = 1, c->opaque = opaque, waiting = c;
    else
        answer(c, opaque, 150, record, (may_wait ? 1 : PULL_COUNT) * RECORD_BYTES);
    c->primed |= may_wait;
}

static void took(Conn *c) {
    size_t at = 0;
    int sends = 0;
    while (c->in_len - at >= 8) {
        size_t total = get4(c->in + at), head = get4(c->in + at + 4) & 0xffffff;
        if (c->in_len - at < 4 + total) break;
        const char *h = c->in + at + 8;
        if (c->in[at + 4]) {
            int code = (unsigned char)h[0] << 8 | (unsigned char)h[1];
            if (code == 11) {
                pulled(c, h, head, get4(h + 5));
            } else {
                sends++;
                answer(c, get4(h + 5), code == 320 ? 140 + 32 * 33 : 172, NULL, 0);
            }
        } else {
            sends++;
            answer_json(c, h, head);
        }
        at += 4 + total;
    }
    if (sends) {
        if (log_at + (int64_t)at > FILE_BYTES) log_at = 0;
        if (pwrite(log_fd, c->in, at, log_at) < 0) die("pwrite");
        log_at += (int64_t)at, unsynced = 1;
        if (waiting && waiting->waits) waiting->waits = 0, answer(waiting, waiting->opaque, 150, record, RECORD_BYTES);
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void leave(Conn *c) {
    close(c->fd);
    if (waiting == c) waiting = NULL;
    free(c->in), free(c->out), free(c);
}

int main(int argc, char **argv) {
    if (argc != 5) return 1;
    uint64_t spin_us = (uint64_t)atoll(argv[3]);
    synced = !strcmp(argv[4], "sync");
    log_fd = open(argv[2], O_RDWR | O_CREAT, 0644);
    if (log_fd < 0 || posix_fallocate(log_fd, 0, FILE_BYTES)) die("file");
    for (int i = 0; i < PULL_COUNT; i++) put4(record + i * RECORD_BYTES, RECORD_BYTES);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 1024)) die("listen");
    printf("boot success\n"), fflush(stdout);
    epoll_fd = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN}, events[EVENTS];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
    uint64_t last = 0;
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, spin_us && now_us() - last < spin_us ? 0 : -1);
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (!c) {
                c = calloc(1, sizeof *c);
                c->fd = accept(listener, NULL, NULL), c->at = -1;
                setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                c->in_cap = READ_BYTES, c->in = malloc(c->in_cap), c->out_cap = 1 << 12, c->out = malloc(c->out_cap);
                e.data.ptr = c;
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
                continue;
            }
            if (c->in_len == c->in_cap) c->in = realloc(c->in, c->in_cap *= 2);
            ssize_t got = read(c->fd, c->in + c->in_len, c->in_cap - c->in_len);
            if (got <= 0) {
                leave(c);
                continue;
            }
            c->in_len += (size_t)got;
            took(c);
        }
        if (synced && unsynced && fdatasync(log_fd)) die("fdatasync");
        unsynced = 0;
        for (int i = 0; i < answered_count; i++) {
            Conn *c = answered[i];
            for (size_t at = 0; at < c->out_len;) {
                ssize_t done = write(c->fd, c->out + at, c->out_len - at);
                if (done < 0) die("write");
                at += (size_t)done;
            }
            c->out_len = 0, c->at = -1;
        }
        answered_count = 0;
        if (n > 0 && spin_us) last = now_us();
    }
}
