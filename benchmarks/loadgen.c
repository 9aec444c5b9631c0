/* A lean load generator for brokers that speak the remoting protocol: one thread, epoll, prebuilt frames.
 *
 *   loadgen HOST PORT send  CONNECTIONS WINDOW BODY_BYTES BATCH COUNT TOPIC QUEUES json|binary [TOPICS]
 *   loadgen HOST PORT pull  CONNECTIONS 1      0          0     COUNT TOPIC QUEUES json|binary
 *   loadgen HOST PORT paced CONNECTIONS RATE   BODY_BYTES 0     COUNT TOPIC QUEUES json|binary
 *   loadgen HOST PORT transaction CONNECTIONS WINDOW BODY_BYTES 0 COUNT TOPIC QUEUES json|binary
 *   loadgen HOST PORT oneway      CONNECTIONS WINDOW BODY_BYTES ROLLBACK_PERCENT COUNT TOPIC QUEUES json|binary
 *   loadgen HOST PORT e2e   1           1      BODY_BYTES 0     COUNT TOPIC 1      json|binary
 *
 * It prints one JSON line: messages, seconds, latency percentiles in microseconds, its own CPU seconds, errors.
 * With TOPICS, sends go to so many topics in turn: TOPIC ends in 00000 then, in place of which stands the number.
 * paced sends RATE messages a second whatever comes back, and counts latency from the moment each was due: a server that
 * stands still is seen by every message of that time, not by the few that were in flight.
 * pull keeps one request a queue under way; the queues lie on the connections in turn. The official clients have one
 * connection to a broker, whatever they consume.
 * transaction sends half messages and commits each once it is stored; a message counts, and its latency ends, with the answer
 * to the commit. oneway ends them as the official producers do, without an answer (transactions.h).
 * COUNT is messages (send: rounded up to whole requests). It costs 0.2 to 0.5 us of processor time a message, so that
 * the server stays the thing that is measured.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"

#define OPAQUE_BASE 1000000000LL /* ten digits, so that a JSON frame can be patched in place */
#define CONNECTIONS_MAX 8192

#define QUEUES_MAX 9
#define ASKED_MAX 64 /* more than there are pulls under way */

static const char *topic;
static int queues, binary, body_bytes, batch, window, connections;
static int64_t target, sent, answered, messages, errors;
static uint64_t *started;
static uint64_t *latency;
static int64_t latency_count;
static char *template_frame;
static size_t template_len, at_opaque, at_queue, at_topic, at_uniq[256];
static int topics = 1;
static int64_t pull_offset[QUEUES_MAX];
static int asked[ASKED_MAX], reading; /* whose queue a pull is for; how many queues are not read to their end */
static int uniq_count;
static char first_error[256];
static int timer_fd = -1;
static int transactional;
static const char *answer_header; /* of the answer that is handled */
static size_t answer_header_len;
static uint64_t limit_s = 120, pace_begin, worst, worst_at;

/* ---- frames -------------------------------------------------------------------------------------------------- */

typedef struct {
    char data[1 << 16];
    size_t len;
    int fields;
} Header;

static void field(Header *h, const char *key, const char *value) {
    size_t k = strlen(key), v = strlen(value);
    if (binary) {
        h->data[h->len++] = (char)(k >> 8), h->data[h->len++] = (char)k;
        memcpy(h->data + h->len, key, k), h->len += k;
        put4(h->data + h->len, (uint32_t)v), h->len += 4;
        memcpy(h->data + h->len, value, v), h->len += v;
        return;
    }
    h->len += (size_t)sprintf(h->data + h->len, "%s\"%s\":\"", h->fields++ ? "," : "", key);
    for (size_t i = 0; i < v; i++) {
        if ((unsigned char)value[i] < 0x20)
            h->len += (size_t)sprintf(h->data + h->len, "\\u%04x", value[i]);
        else
            h->data[h->len++] = value[i];
    }
    h->data[h->len++] = '"';
}

/* Lays out a whole frame; returns its length and the place of the opaque. */
static size_t frame(char *out, int code, int flag, Header *h, const char *body, size_t body_len, size_t *opaque_at) {
    char head[1 << 16];
    size_t n;
    if (binary) {
        head[0] = (char)(code >> 8), head[1] = (char)code, head[2] = 0, head[3] = 2, head[4] = 1; /* JAVA, 513 */
        put4(head + 5, (uint32_t)OPAQUE_BASE), put4(head + 9, (uint32_t)flag), put4(head + 13, 0);
        put4(head + 17, (uint32_t)h->len);
        memcpy(head + 21, h->data, h->len);
        n = 21 + h->len, *opaque_at = 8 + 5;
    } else {
        n = (size_t)sprintf(head, "{\"code\":%d,\"extFields\":{", code);
        memcpy(head + n, h->data, h->len), n += h->len;
        n += (size_t)sprintf(head + n, "},\"flag\":%d,\"language\":\"JAVA\",\"opaque\":", flag);
        *opaque_at = 8 + n;
        n += (size_t)sprintf(head + n, "%lld,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}", OPAQUE_BASE);
    }
    put4(out, (uint32_t)(4 + n + body_len));
    put4(out + 4, (uint32_t)n | (binary ? 1u << 24 : 0));
    memcpy(out + 8, head, n);
    memcpy(out + 8 + n, body, body_len);
    return 8 + n + body_len;
}

static void patch_number(char *p, int64_t value, int digits) {
    for (int i = digits - 1; i >= 0; i--) p[i] = (char)('0' + value % 10), value /= 10;
}

static void patch_opaque(char *p, int64_t sequence) {
    if (binary)
        put4(p, (uint32_t)(OPAQUE_BASE + sequence));
    else
        patch_number(p, OPAQUE_BASE + sequence, 10);
}

static void remember_uniq(const char *from, size_t len) {
    const char *p = from, *end = from + len;
    while (uniq_count < 256 && (p = memmem(p, (size_t)(end - p), "7F0000010001", 12)) != NULL)
        at_uniq[uniq_count++] = (size_t)(p - from) + 12, p += 32;
}

static void build_send(void) {
    Header h = {.len = 0};
    char number[32], properties[256];
    size_t element_max = (size_t)body_bytes + 512;
    char *body = malloc(element_max * (size_t)(batch ? batch : 1));
    size_t body_len = 0;
    const char *props = transactional
        ? "UNIQ_KEY\x01" "7F000001000100000000000000000000\x02WAIT\x01true\x02TRAN_MSG\x01true\x02PGROUP\x01" "bench_producer\x02"
        : "UNIQ_KEY\x01" "7F000001000100000000000000000000\x02WAIT\x01true\x02";
    if (batch) {
        for (int i = 0; i < batch; i++) {
            size_t p = strlen(props), size = 20 + (size_t)body_bytes + 2 + p;
            char *e = body + body_len;
            put4(e, (uint32_t)size), put4(e + 4, 0), put4(e + 8, 0), put4(e + 12, 0), put4(e + 16, (uint32_t)body_bytes);
            memset(e + 20, 'a' + i % 26, (size_t)body_bytes);
            e[20 + body_bytes] = (char)(p >> 8), e[21 + body_bytes] = (char)p;
            memcpy(e + 22 + body_bytes, props, p);
            body_len += size;
        }
        strcpy(properties, props); /* as the Java client does: the batch has a unique key of its own, too */
    } else {
        memset(body, 'x', (size_t)body_bytes), body_len = (size_t)body_bytes;
        strcpy(properties, props);
    }
    field(&h, "a", "bench_producer"), field(&h, "b", topic), field(&h, "c", "TBW102"), field(&h, "d", "4");
    field(&h, "e", "0");
    size_t queue_in_header = h.len - (binary ? 1 : 2);
    sprintf(number, "%lld", (long long)time(NULL) * 1000);
    field(&h, "f", transactional ? "4" : "0"), field(&h, "g", number), field(&h, "h", "0"), field(&h, "i", properties);
    field(&h, "j", "0"), field(&h, "k", "false"), field(&h, "l", "0"), field(&h, "m", batch ? "true" : "false");
    template_frame = malloc(body_len + (1 << 17));
    template_len = frame(template_frame, batch ? 320 : 310, 0, &h, body, body_len, &at_opaque);
    at_queue = binary ? 8 + 21 + queue_in_header : 8 + strlen(batch ? "{\"code\":320,\"extFields\":{" : "{\"code\":310,\"extFields\":{") + queue_in_header;
    remember_uniq(template_frame, template_len);
    const char *name = memmem(template_frame, template_len, topic, strlen(topic));
    at_topic = name ? (size_t)(name - template_frame) + strlen(topic) - 5 : 0;
    free(body);
}

static size_t build_pull(char *out, int queue, int64_t offset, int64_t sequence, int suspend_ms) {
    Header h = {.len = 0};
    char number[32];
    size_t opaque_at;
    field(&h, "consumerGroup", "bench_consumer"), field(&h, "topic", topic);
    sprintf(number, "%d", queue), field(&h, "queueId", number);
    sprintf(number, "%lld", (long long)offset), field(&h, "queueOffset", number);
    field(&h, "maxMsgNums", "32"), field(&h, "sysFlag", suspend_ms ? "6" : "4"), field(&h, "commitOffset", "0");
    sprintf(number, "%d", suspend_ms), field(&h, "suspendTimeoutMillis", number);
    field(&h, "subscription", "*"), field(&h, "subVersion", "1"), field(&h, "expressionType", "TAG");
    size_t n = frame(out, 11, 0, &h, "", 0, &opaque_at);
    patch_opaque(out + opaque_at, sequence);
    return n;
}

/* ---- sends ---------------------------------------------------------------------------------------------------- */

static void queue_send(Conn *c) {
    char *p = reserve(c, template_len);
    memcpy(p, template_frame, template_len);
    patch_opaque(p + at_opaque, sent);
    p[at_queue] = (char)('0' + (sent / topics + c->queue) % queues);
    if (topics > 1) patch_number(p + at_topic, sent * 7919 % topics, 5); /* all of them, far apart from one to the next */
    for (int i = 0; i < uniq_count; i++) patch_number(p + at_uniq[i], sent * (batch ? batch : 1) + i, 20);
    started[sent] = now_ns();
    sent++, c->in_flight++;
}

static void fill(Conn *c) {
    while (c->in_flight < window && sent < target) queue_send(c);
    flush(c);
}

/* Code and sequence of an answer, from either serialization. */
static int parse_answer(const char *f, size_t total, int64_t *sequence, const char **body, size_t *body_len) {
    uint32_t word = get4(f + 4), header = word & 0xffffff;
    const char *h = f + 8;
    int code;
    *body = h + header, *body_len = 4 + total - 8 - header;
    answer_header = h, answer_header_len = header;
    if (word >> 24) {
        code = (int16_t)(((unsigned char)h[0] << 8) | (unsigned char)h[1]);
        *sequence = (int64_t)get4(h + 5) - OPAQUE_BASE;
    } else {
        const char *p = memmem(h, header, "\"code\":", 7), *q = memmem(h, header, "\"opaque\":", 9);
        if (!p || !q) return -1;
        code = atoi(p + 7), *sequence = atoll(q + 9) - OPAQUE_BASE;
    }
    if (code && !first_error[0]) {
        size_t n = header < 200 ? header : 200;
        for (size_t i = 0; i < n; i++)
            first_error[i] = (h[i] < 0x20 || h[i] == '"' || h[i] == '\\') ? ' ' : h[i];
    }
    return code;
}

typedef void (*Answer)(Conn *, int, int64_t, const char *, size_t);

static void each_answer(Conn *c, Answer handle) {
    size_t at = 0;
    while (c->in_len - at >= 4) {
        size_t total = get4(c->in + at);
        if (c->in_len - at < 4 + total) break;
        int64_t sequence = -1;
        const char *body;
        size_t body_len;
        int code = parse_answer(c->in + at, total, &sequence, &body, &body_len);
        handle(c, code, sequence, body, body_len);
        at += 4 + total;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void take_latency(int64_t sequence) {
    uint64_t ns = now_ns() - started[sequence];
    if (ns > worst) worst = ns, worst_at = started[sequence];
    latency[latency_count++] = ns;
}

static void on_sent(Conn *c, int code, int64_t sequence, const char *body, size_t body_len) {
    (void)body, (void)body_len;
    if (code) errors++;
    else messages += batch ? batch : 1;
    if (sequence >= 0 && sequence < sent) take_latency(sequence);
    answered++, c->in_flight--;
}

static void loop_until(Answer handle, int (*done)(void));
static Conn *all[CONNECTIONS_MAX];
#include "transactions.h"

/* Lays it out; the caller flushes. */
static void ask_pull(Conn *c, int queue, int suspend_ms) {
    char *p = reserve(c, 2048);
    size_t n = build_pull(p, queue, pull_offset[queue], sent, suspend_ms);
    c->out_len -= 2048 - n;
    asked[sent % ASKED_MAX] = queue;
    sent++;
}

static void on_pulled(Conn *c, int code, int64_t sequence, const char *body, size_t body_len) {
    int64_t n = code == 0 ? count_records(body, body_len) : 0;
    int queue = asked[sequence % ASKED_MAX];
    answered++;
    messages += n, pull_offset[queue] += n;
    if (code == 0 && messages < target) ask_pull(c, queue, 0);
    else reading--;
}

static Conn *producer, *consumer;
static uint64_t e2e_start;
static int primed; /* what was in the queue before has been read */

static void on_e2e(Conn *c, int code, int64_t sequence, const char *body, size_t body_len) {
    (void)sequence;
    if (c == producer) {
        if (code) errors++;
        return;
    }
    int64_t n = code == 0 ? count_records(body, body_len) : 0;
    if (!primed) {
        pull_offset[0] += n, primed = 1;
        ask_pull(c, 0, 15000), flush(c);
        return;
    }
    if (n) {
        latency[latency_count++] = now_ns() - e2e_start;
        messages += n, pull_offset[0] += n;
    }
    ask_pull(c, 0, 15000), flush(c);
    if (n && messages < target) {
        /* The pull must be parked before the send: give it 200 us of the server's time. */
        struct timespec pause = {0, 200000};
        nanosleep(&pause, NULL);
        e2e_start = now_ns();
        int64_t keep = sent;
        queue_send(producer), flush(producer);
        sent = keep + 1;
    }
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sends what is due by now. */
static void keep_pace(void) {
    uint64_t ticks, now = now_ns();
    if (read(timer_fd, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timer");
    while (sent < target) {
        uint64_t due = pace_begin + (uint64_t)sent * 1000000000ull / (uint64_t)window;
        if (due > now) break;
        Conn *c = all[sent % connections];
        int64_t number = sent;
        queue_send(c), started[number] = due;
    }
    for (int i = 0; i < connections; i++) flush(all[i]);
}

static void start_pace(void) {
    uint64_t every = 1000000000ull / (uint64_t)window;
    if (every < 500000) every = 500000; /* a wake-up serves all that are due */
    struct itimerspec t = {.it_interval = {(time_t)(every / 1000000000ull), (long)(every % 1000000000ull)}};
    t.it_value = t.it_interval;
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (timer_fd < 0 || timerfd_settime(timer_fd, 0, &t, NULL)) die("timer");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &e);
    limit_s += (uint64_t)target / (uint64_t)window;
    pace_begin = now_ns();
}

static void loop_until(Answer handle, int (*done)(void)) {
    struct epoll_event events[256];
    uint64_t limit = now_ns() + limit_s * 1000000000ull;
    while (!done()) {
        int n = epoll_wait(poll_fd, events, 256, 1000);
        if (now_ns() > limit) {
            fprintf(stderr, "no end after %llu s: %lld answered of %lld sent\n", (unsigned long long)limit_s, (long long)answered, (long long)sent);
            exit(4);
        }
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (!c) {
                keep_pace();
                continue;
            }
            if (events[i].events & EPOLLOUT) flush(c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                while (read_more(c)) {
                    each_answer(c, handle);
                    if (c->in_cap - c->in_len > READ_BYTES) break;
                }
            if ((handle == on_sent && timer_fd < 0) || handle == on_transaction || handle == on_half) fill(c);
            if (handle == on_pulled) flush(c);
        }
    }
}

static int send_done(void) { return answered >= target; }
static int is_primed(void) { return primed; }
static int count_done(void) { return messages >= target; }
static int pull_done(void) { return messages >= target || !reading; }

int main(int argc, char **argv) {
    if (argc != 12 && argc != 13) {
        fprintf(stderr, "usage: loadgen HOST PORT send|pull|paced|transaction|oneway|e2e CONNECTIONS WINDOW BODY_BYTES BATCH COUNT TOPIC QUEUES json|binary [TOPICS]\n");
        return 1;
    }
    const char *host = argv[1], *mode = argv[3];
    int port = atoi(argv[2]);
    connections = atoi(argv[4]), window = atoi(argv[5]), body_bytes = atoi(argv[6]), batch = atoi(argv[7]);
    target = atoll(argv[8]), topic = argv[9], queues = atoi(argv[10]), binary = !strcmp(argv[11], "binary");
    if (queues < 1 || queues > QUEUES_MAX || connections < 1 || connections > CONNECTIONS_MAX || batch > 200) return 1;
    if (argc == 13) topics = atoi(argv[12]);
    if (topics < 1 || topics > 99999 || (topics > 1 && strlen(topic) < 5)) return 1;
    int64_t wanted = target;
    if (!strcmp(mode, "send") && batch) target = (target + batch - 1) / batch;
    poll_fd = epoll_create1(0);
    started = calloc((size_t)(target < 1000000 ? 1000000 : target) + 16, sizeof *started);
    latency = calloc((size_t)target + 1000016, sizeof *latency);
    uint64_t begin;
    if (!strcmp(mode, "send")) {
        build_send();
        for (int i = 0; i < connections; i++) all[i] = connect_to(host, port), all[i]->queue = i;
        begin = now_ns();
        for (int i = 0; i < connections; i++) fill(all[i]);
        loop_until(on_sent, send_done);
    } else if (!strcmp(mode, "paced")) {
        if (window < 1 || batch) return 1;
        build_send();
        for (int i = 0; i < connections; i++) all[i] = connect_to(host, port), all[i]->queue = i;
        begin = now_ns();
        start_pace();
        loop_until(on_sent, send_done);
    } else if (!strcmp(mode, "transaction")) {
        if (batch) return 1;
        transactional = 1;
        build_send();
        for (int i = 0; i < connections; i++) all[i] = connect_to(host, port), all[i]->queue = i;
        begin = now_ns();
        for (int i = 0; i < connections; i++) fill(all[i]);
        loop_until(on_transaction, send_done);
    } else if (!strcmp(mode, "oneway")) {
        if (batch > 100) return 1;
        rollback_percent = batch, batch = 0, transactional = 1;
        build_send();
        for (int i = 0; i < connections; i++) all[i] = connect_to(host, port), all[i]->queue = i;
        visible_before = visible();
        begin = now_ns();
        for (int i = 0; i < connections; i++) fill(all[i]);
        loop_until(on_half, send_done);
        await_commits();
    } else if (!strcmp(mode, "pull")) {
        for (int i = 0; i < connections; i++) all[i] = connect_to(host, port);
        begin = now_ns();
        for (reading = 0; reading < queues; reading++) ask_pull(all[reading % connections], reading, 0);
        for (int i = 0; i < connections; i++) flush(all[i]);
        loop_until(on_pulled, pull_done);
    } else {
        build_send();
        queues = 1;
        producer = connect_to(host, port), consumer = connect_to(host, port);
        begin = now_ns();
        ask_pull(consumer, 0, 15000), flush(consumer);
        loop_until(on_e2e, is_primed);
        struct timespec pause = {0, 20000000};
        nanosleep(&pause, NULL);
        e2e_start = now_ns();
        queue_send(producer), flush(producer);
        loop_until(on_e2e, count_done);
    }
    double seconds = (double)(now_ns() - begin) / 1e9;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double cpu = (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    qsort(latency, (size_t)latency_count, sizeof *latency, by_value);
#define AT(q) (latency_count ? (double)latency[(int64_t)((double)(latency_count - 1) * (q))] / 1000.0 : 0.0)
    printf("{\"mode\":\"%s\",\"wanted\":%lld,\"messages\":%lld,\"errors\":%lld,\"seconds\":%.6f,\"per_second\":%.1f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"worst_at_s\":%.3f,\"generator_cpu_seconds\":%.3f,\"commits\":%lld,\"rollbacks\":%lld,\"first_error\":\"%s\"}\n",
           mode, (long long)wanted, (long long)messages, (long long)errors, seconds, (double)messages / seconds, AT(0.5),
           AT(0.99), AT(0.999), AT(1.0), worst ? (double)(worst_at - begin) / 1e9 : 0.0, cpu,
           (long long)commits, (long long)rollbacks, first_error);
    return 0;
}
