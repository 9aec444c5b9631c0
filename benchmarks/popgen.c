/* A lean load generator for POP consumption: pops as the official push consumer does, and acknowledges what it gets.
 *
 *   popgen HOST PORT pop CONNECTIONS BATCH single|batch COUNT TOPIC GROUP BROKER_NAME 0
 *   popgen HOST PORT e2e 1           BATCH single|batch COUNT TOPIC GROUP BROKER_NAME BODY_BYTES
 *
 * pop takes COUNT messages that lie in TOPIC already. Each connection has one pop under way, for all queues, waiting up to
 * 15 s; its answer brings the next pop and the acknowledgements, which nobody waits for: one request a message ("single", what
 * the push consumer sends) or one for all messages of an answer ("batch", what a proxy sends). As in that client, no pop
 * goes out while more than 96 messages of a connection are not acknowledged.
 * e2e sends one message after the other, each when a pop waits and the last message is acknowledged; a latency goes from the
 * send to the pop's answer.
 *
 * Headers are JSON (these codes do not fit the binary ones), members in the order the Java client writes them: those of
 * the command sorted, fields in the order of a hash table.
 *
 * It prints one JSON line. Every message is followed: `again` counts those that came more than once, `acknowledged` the
 * different ones whose acknowledgement was answered with success. Latency of mode pop is from pop to answer. It costs about
 * 1 us of processor time a message.
 */
#define _GNU_SOURCE
#include <sys/resource.h>

#include "peer.h"

#define CONNECTIONS_MAX 64
#define QUEUES_MAX 64
#define IN_AN_ANSWER_MAX 32
#define UNACKED_MAX 96 /* popThresholdForQueue */
#define INVISIBLE_MS 60000
#define POLL_MS 15000
#define LIMIT_S 150
#define FRAME_MAX 8192

typedef struct {
    int queue, retry;
    int64_t offset;
} Out;

typedef struct {
    int64_t first;
    int count;
} Ack;

static const char *topic, *group, *broker;
static int batch, in_batches, connections, is_e2e, body_bytes;
static int64_t target, popped, again, acknowledged, errors, empty, pops, acks, outs, latency_count;
static Conn *all[CONNECTIONS_MAX], *producer;
static int waits_to_pop[CONNECTIONS_MAX]; /* too much is not acknowledged */
static int64_t unacked[CONNECTIONS_MAX];
static uint64_t *latency, *pop_began, send_began;
static int64_t pop_room;
static unsigned char *seen[QUEUES_MAX]; /* 1 came, 2 acknowledged */
static Out *out_of;
static Ack *ack_of;
static char first_error[256];

static void grow_pops(void) {
    if (pops < pop_room) return;
    pop_room = pop_room ? pop_room * 2 : 1 << 16;
    pop_began = realloc(pop_began, (size_t)pop_room * sizeof *pop_began);
}

static int64_t wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

/* Lengths around a header of `header` bytes that lies behind them, and a body behind that. */
static void end_frame(Conn *c, char *p, size_t header, size_t body) {
    put4(p, (uint32_t)(4 + header + body)), put4(p + 4, (uint32_t)header);
    c->out_len -= FRAME_MAX - (8 + header + body);
}

static const char *TAIL = "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}";

static void ask_pop(Conn *c) {
    char *p = reserve(c, FRAME_MAX);
    grow_pops();
    size_t n = (size_t)sprintf(p + 8,
        "{\"code\":200050,\"extFields\":{\"invisibleTime\":\"%d\",\"pollTime\":\"%d\",\"queueId\":\"-1\",\"bornTime\":\"%lld\","
        "\"maxMsgNums\":\"%d\",\"bname\":\"%s\",\"topic\":\"%s\",\"expType\":\"TAG\",\"exp\":\"*\",\"consumerGroup\":\"%s\","
        "\"initMode\":\"0\",\"order\":\"false\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":%lld,%s",
        INVISIBLE_MS, POLL_MS, (long long)wall_ms(), batch, broker, topic, group, (long long)pops * 2, TAIL);
    end_frame(c, p, n, 0);
    pop_began[pops++] = now_ns();
}

static void ask_ack(Conn *c, const Out *out, const char *handle) {
    char *p = reserve(c, FRAME_MAX);
    const char *lies_in = topic;
    char retry[256];
    if (out->retry) snprintf(retry, sizeof retry, "%%RETRY%%%s_%s", group, topic), lies_in = retry;
    size_t n = (size_t)sprintf(p + 8,
        "{\"code\":200051,\"extFields\":{\"queueId\":\"%d\",\"offset\":\"%lld\",\"bname\":\"%s\",\"topic\":\"%s\","
        "\"consumerGroup\":\"%s\",\"extraInfo\":\"%s\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":%lld,%s",
        out->queue, (long long)out->offset, broker, lies_in, group, handle, (long long)acks * 2 + 1, TAIL);
    end_frame(c, p, n, 0);
}

static void ask_batch_ack(Conn *c, const char *entries, size_t len) {
    char *p = reserve(c, FRAME_MAX);
    size_t n = (size_t)sprintf(p + 8, "{\"code\":200151,\"flag\":0,\"language\":\"JAVA\",\"opaque\":%lld,%s", (long long)acks * 2 + 1, TAIL);
    size_t body = (size_t)snprintf(p + 8 + n, FRAME_MAX - 8 - n, "{\"acks\":[%.*s],\"brokerName\":\"%s\"}", (int)len, entries, broker);
    if (8 + n + body >= FRAME_MAX) die("a batch ack beyond its frame");
    end_frame(c, p, n, body);
}

static void send_one(void) {
    static int64_t number;
    char *p = reserve(producer, FRAME_MAX);
    size_t n = (size_t)sprintf(p + 8,
        "{\"code\":310,\"extFields\":{\"a\":\"bench_producer\",\"b\":\"%s\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"%lld\",\"f\":\"0\","
        "\"g\":\"%lld\",\"h\":\"0\",\"i\":\"UNIQ_KEY\\u00017F0000010001%020lld\\u0002WAIT\\u0001true\\u0002\",\"j\":\"0\",\"k\":\"false\","
        "\"l\":\"0\",\"m\":\"false\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":%lld,%s",
        topic, (long long)(number % 4), (long long)wall_ms(), (long long)number, (long long)number, TAIL);
    memset(p + 8 + n, 'x', (size_t)body_bytes);
    end_frame(producer, p, n, (size_t)body_bytes);
    number++;
    send_began = now_ns();
    flush(producer);
}

/* ---- answers ------------------------------------------------------------------------------------------------- */

static void note_error(const char *header, size_t len) {
    errors++;
    if (first_error[0]) return;
    for (size_t i = 0; i < len && i < 200; i++)
        first_error[i] = (header[i] < 0x20 || header[i] == '"' || header[i] == '\\') ? ' ' : header[i];
}

/* The text of an extension field, NULL when it is not there; `len` says how long it is. */
static const char *text_of(const char *header, size_t header_len, const char *key, size_t *len) {
    char quoted[64];
    size_t k = (size_t)snprintf(quoted, sizeof quoted, "\"%s\":\"", key);
    const char *p = memmem(header, header_len, quoted, k);
    if (!p) return NULL;
    p += k;
    const char *end = memchr(p, '"', header_len - (size_t)(p - header));
    *len = end ? (size_t)(end - p) : 0;
    return end ? p : NULL;
}

static int64_t number_of(const char *header, size_t header_len, const char *key) {
    size_t len;
    const char *p = text_of(header, header_len, key, &len);
    return p ? atoll(p) : 0;
}

static int64_t start_of(const char *starts, const char *end, int retry, int queue) {
    while (starts < end) {
        char *p;
        int r = (int)strtol(starts, &p, 10), q = (int)strtol(p, &p, 10);
        int64_t start = strtoll(p, &p, 10);
        if (r == retry && q == queue) return start;
        starts = p + 1;
    }
    return -1;
}

static size_t base64(char *to, const unsigned char *bits, size_t n) {
    static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)bits[i] << 16 | (uint32_t)(i + 1 < n ? bits[i + 1] : 0) << 8 | (i + 2 < n ? bits[i + 2] : 0);
        to[at++] = LETTERS[v >> 18], to[at++] = LETTERS[v >> 12 & 63];
        to[at++] = i + 1 < n ? LETTERS[v >> 6 & 63] : '=', to[at++] = i + 2 < n ? LETTERS[v & 63] : '=';
    }
    to[at] = 0;
    return at;
}

static void came(Conn *c, int retry, int queue, int64_t offset) {
    if (queue < 0 || queue >= QUEUES_MAX || offset < 0 || offset >= target) die("an offset that was not sent");
    if (retry || seen[queue][offset]) again++;
    else seen[queue][offset] = 1, popped++;
    out_of[outs++] = (Out){queue, retry, offset};
    unacked[c->queue]++;
    if (outs > target * 2) die("everything came twice");
}

/* Goes through "retry queue offset,offset;...", and acknowledges what stands there. */
static int64_t on_found(Conn *c, const char *header, size_t len) {
    size_t starts_len, offsets_len;
    const char *starts = text_of(header, len, "startOffsetInfo", &starts_len), *at = text_of(header, len, "msgOffsetInfo", &offsets_len);
    if (!starts || !at) return -1;
    const char *end = at + offsets_len;
    int64_t pop_time = number_of(header, len, "popTime"), invisible = number_of(header, len, "invisibleTime");
    int64_t revive = number_of(header, len, "reviveQid"), first = outs;
    char entries[FRAME_MAX - 512], handle[256];
    size_t entries_len = 0;
    while (at < end) {
        char *p;
        int retry = (int)strtol(at, &p, 10), queue = (int)strtol(p, &p, 10);
        int64_t start = start_of(starts, starts + starts_len, retry, queue);
        unsigned char bits[64] = {0};
        size_t bytes = 0;
        do {
            int64_t offset = strtoll(*p == ',' ? p + 1 : p, &p, 10), bit = offset - start;
            came(c, retry, queue, offset);
            if (in_batches) {
                if (bit < 0 || bit >= (int64_t)sizeof bits * 8) die("an offset far from its start");
                bits[bit / 8] |= (unsigned char)(1 << bit % 8);
                if ((size_t)bit / 8 + 1 > bytes) bytes = (size_t)bit / 8 + 1;
                continue;
            }
            sprintf(handle, "%lld %lld %lld %lld %d %s %d %lld", (long long)start, (long long)pop_time, (long long)invisible,
                    (long long)revive, retry, broker, queue, (long long)offset);
            ask_ack(c, &out_of[outs - 1], handle);
            ack_of[acks++] = (Ack){outs - 1, 1};
        } while (*p == ',');
        if (in_batches) {
            char text[128];
            base64(text, bits, bytes);
            entries_len += (size_t)sprintf(entries + entries_len,
                "%s{\"b\":\"%s\",\"c\":\"%s\",\"it\":%lld,\"pt\":%lld,\"q\":%d,\"r\":\"%d\",\"rq\":%lld,\"so\":%lld,\"t\":\"%s\"}",
                entries_len ? "," : "", text, group, (long long)invisible, (long long)pop_time, queue, retry, (long long)revive,
                (long long)start, topic);
            if (entries_len > sizeof entries - 1024) die("too many queues in an answer");
        }
        at = p + 1;
    }
    if (in_batches) {
        ask_batch_ack(c, entries, entries_len);
        ack_of[acks++] = (Ack){first, (int)(outs - first)};
    }
    return outs - first;
}

static void pop_more(Conn *c) {
    waits_to_pop[c->queue] = unacked[c->queue] > UNACKED_MAX;
    if (!waits_to_pop[c->queue]) ask_pop(c);
}

static void on_popped(Conn *c, int code, int64_t number, const char *header, size_t len, const char *body, size_t body_len) {
    uint64_t now = now_ns();
    if (code == 0) {
        latency[latency_count++] = now - (is_e2e ? send_began : pop_began[number]);
        if (popped < target) {
            /* The next pop leaves before the acknowledgements, as that client sends them. */
            if (unacked[c->queue] + batch <= UNACKED_MAX) ask_pop(c);
            else waits_to_pop[c->queue] = 1;
        }
        if (on_found(c, header, len) != count_records(body, body_len)) note_error(header, len);
        return;
    }
    if (code == 209 || code == 210 || code == 19) empty++;
    else note_error(header, len);
    if (popped < target) pop_more(c);
}

static void on_acked(Conn *c, int code, int64_t number, const char *header, size_t len) {
    if (number >= acks) die("an answer to nothing");
    Ack *ack = &ack_of[number];
    unacked[c->queue] -= ack->count;
    if (code) note_error(header, len);
    else
        for (int64_t i = ack->first; i < ack->first + ack->count; i++) {
            Out *out = &out_of[i];
            if (!out->retry && seen[out->queue][out->offset] == 1) seen[out->queue][out->offset] = 2, acknowledged++;
        }
    if (waits_to_pop[c->queue] && popped < target) pop_more(c);
    if (is_e2e && popped < target && popped == acknowledged) send_one();
}

static void each_answer(Conn *c) {
    size_t at = 0;
    while (c->in_len - at >= 4) {
        size_t total = get4(c->in + at);
        if (c->in_len - at < 4 + total) break;
        const char *header = c->in + at + 8;
        size_t len = get4(c->in + at + 4) & 0xffffff;
        const char *p = memmem(header, len, "\"code\":", 7), *q = memmem(header, len, "\"opaque\":", 9);
        if (!p || !q) die("an answer without code or opaque");
        int code = atoi(p + 7);
        int64_t opaque = atoll(q + 9);
        if (c == producer) {
            if (code) note_error(header, len);
        } else if (opaque & 1)
            on_acked(c, code, opaque / 2, header, len);
        else
            on_popped(c, code, opaque / 2, header, len, header + len, total - 4 - len);
        at += 4 + total;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    if (argc != 12) {
        fprintf(stderr, "usage: popgen HOST PORT pop|e2e CONNECTIONS BATCH single|batch COUNT TOPIC GROUP BROKER_NAME BODY_BYTES\n");
        return 1;
    }
    const char *host = argv[1];
    int port = atoi(argv[2]);
    is_e2e = !strcmp(argv[3], "e2e"), connections = atoi(argv[4]), batch = atoi(argv[5]), in_batches = !strcmp(argv[6], "batch");
    target = atoll(argv[7]), topic = argv[8], group = argv[9], broker = argv[10], body_bytes = atoi(argv[11]);
    if (connections < 1 || connections > CONNECTIONS_MAX || batch < 1 || batch > IN_AN_ANSWER_MAX || target < 1) return 1;
    if (body_bytes < 0 || body_bytes > FRAME_MAX / 2 || strlen(topic) > 100 || strlen(group) > 100 || strlen(broker) > 60) return 1;
    latency = calloc((size_t)target * 2 + 16, sizeof *latency);
    out_of = calloc((size_t)target * 2 + 64, sizeof *out_of), ack_of = calloc((size_t)target * 2 + 64, sizeof *ack_of);
    for (int i = 0; i < QUEUES_MAX; i++) seen[i] = calloc((size_t)target, 1);
    poll_fd = epoll_create1(0);
    for (int i = 0; i < connections; i++) all[i] = connect_to(host, port), all[i]->queue = i;
    uint64_t begin = now_ns(), limit = begin + LIMIT_S * 1000000000ull;
    for (int i = 0; i < connections; i++) ask_pop(all[i]), flush(all[i]);
    if (is_e2e) {
        struct timespec pause = {0, 50000000};
        producer = connect_to(host, port);
        nanosleep(&pause, NULL);
        begin = now_ns();
        send_one();
    }
    struct epoll_event events[64];
    while (acknowledged < target) {
        int n = epoll_wait(poll_fd, events, 64, 1000);
        if (now_ns() > limit) {
            fprintf(stderr, "no end after %d s: %lld popped, %lld acknowledged of %lld; %lld errors, the first: %s\n", LIMIT_S,
                    (long long)popped, (long long)acknowledged, (long long)target, (long long)errors, first_error);
            return 4;
        }
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                while (read_more(c)) {
                    each_answer(c);
                    if (c->in_cap - c->in_len > READ_BYTES) break;
                }
            flush(c);
        }
    }
    double seconds = (double)(now_ns() - begin) / 1e9;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double cpu = (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    qsort(latency, (size_t)latency_count, sizeof *latency, by_value);
#define AT(q) (latency_count ? (double)latency[(int64_t)((double)(latency_count - 1) * (q))] / 1000.0 : 0.0)
    printf("{\"messages\":%lld,\"acknowledged\":%lld,\"again\":%lld,\"pops\":%lld,\"empty\":%lld,\"errors\":%lld,\"seconds\":%.6f,"
           "\"per_second\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"generator_cpu_seconds\":%.3f,\"first_error\":\"%s\"}\n",
           (long long)popped, (long long)acknowledged, (long long)again, (long long)pops, (long long)empty, (long long)errors, seconds,
           (double)acknowledged / seconds, AT(0.5), AT(0.99), AT(0.999), cpu, first_error);
    return 0;
}
