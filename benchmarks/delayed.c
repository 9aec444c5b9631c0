/* Delayed messages for a broker: sends them, waits until all have come, reads them and says how late each was.
 *
 *   delayed HOST PORT level|delay|deliver|keep CONNECTIONS WINDOW BODY_BYTES COUNT TOPIC QUEUES FIRST_MS SPREAD_MS
 *
 * level asks for delay level 2 (5 s); delay for TIMER_DELAY_MS, deliver for TIMER_DELIVER_MS: the first message FIRST_MS from
 * now, the last SPREAD_MS after it, the others evenly in between. The topic is there, and each of its queues. keep is deliver,
 * and ends when all are sent.
 *
 * Prints one JSON line when the queues have as many messages more as were sent: until then only ends of queues were asked for,
 * so that what the server has spent is sending, waiting and firing. With a line on its input it goes on: it reads all of them
 * and prints a second JSON line, with how many came, came twice, came early, and the lateness in ms: store time minus due time.
 */
#define main loadgen_main
#include "loadgen.c"
#undef main

#define TIME_DIGITS 13
#define POLL_MS 20

static size_t at_time;
static int64_t first_ms, spread_ms, wall_begin_ms, *due_ms;
static unsigned char *seen;
static int by_level, by_delay;
static int64_t ends[QUEUES_MAX], begins[QUEUES_MAX], came, twice, early, strange;
static double *late;
static int ends_asked;

static int64_t wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void build_timed(void) {
    Header h = {.len = 0};
    char number[32], properties[256];
    char *body = malloc((size_t)body_bytes);
    const char *when = by_level ? "DELAY\x01" "2\x02" : by_delay ? "TIMER_DELAY_MS\x01" "0000000000000\x02"
                                                                 : "TIMER_DELIVER_MS\x01" "0000000000000\x02";
    memset(body, 'x', (size_t)body_bytes);
    sprintf(properties, "UNIQ_KEY\x01" "7F000001000100000000000000000000\x02WAIT\x01true\x02%s", when);
    field(&h, "a", "bench_producer"), field(&h, "b", topic), field(&h, "c", "TBW102"), field(&h, "d", "4");
    field(&h, "e", "0");
    size_t queue_in_header = h.len - 1;
    sprintf(number, "%lld", (long long)time(NULL) * 1000);
    field(&h, "f", "0"), field(&h, "g", number), field(&h, "h", "0"), field(&h, "i", properties);
    field(&h, "j", "0"), field(&h, "k", "false"), field(&h, "l", "0"), field(&h, "m", "false");
    template_frame = malloc((size_t)body_bytes + (1 << 17));
    template_len = frame(template_frame, 310, 0, &h, body, (size_t)body_bytes, &at_opaque);
    at_queue = 8 + 21 + queue_in_header;
    remember_uniq(template_frame, template_len);
    if (!by_level) {
        const char *p = memmem(template_frame, template_len, when, strlen(when) - 1);
        at_time = (size_t)(p - template_frame) + strlen(when) - 1 - TIME_DIGITS;
    }
    free(body);
}

static void send_timed(Conn *c) {
    while (c->in_flight < window && sent < target) {
        int64_t delay = by_level ? 5000 : first_ms + (target > 1 ? sent * spread_ms / (target - 1) : 0), now = wall_ms();
        char *p = reserve(c, template_len);
        memcpy(p, template_frame, template_len);
        patch_opaque(p + at_opaque, sent);
        p[at_queue] = (char)('0' + sent % queues);
        patch_number(p + at_uniq[0], sent, 20);
        due_ms[sent] = by_level || by_delay ? now + delay : wall_begin_ms + delay;
        if (!by_level) patch_number(p + at_time, by_delay ? delay : due_ms[sent], TIME_DIGITS);
        started[sent] = now_ns();
        sent++, c->in_flight++;
    }
    flush(c);
}

static void on_end(Conn *c, int code, int64_t sequence, const char *body, size_t body_len) {
    (void)c, (void)body, (void)body_len;
    const char *offset = code ? NULL : answer_field("offset");
    if (!offset) {
        fprintf(stderr, "no end of queue: code %d\n", code);
        exit(5);
    }
    ends[asked[sequence % ASKED_MAX]] = atoll(offset);
    ends_asked--;
}

static int64_t reads;

/* The sequence says the queue: one of them may be behind by any number of pulls of the others. */
static void ask_read(Conn *c, int queue) {
    sent = reads++ * 16 + queue;
    ask_pull(c, queue, 0);
}

static void on_read(Conn *c, int code, int64_t sequence, const char *body, size_t body_len) {
    int queue = (int)(sequence % 16);
    if (code) {
        fprintf(stderr, "a pull of queue %d at %lld was answered %d\n", queue, (long long)pull_offset[queue], code);
        exit(5);
    }
    for (size_t at = 0; at + 91 <= body_len;) {
        const char *record = body + at;
        size_t size = get4(record);
        const char *id = memmem(record, size, "7F0000010001", 12);
        char digits[21] = {0};
        int64_t number = -1;
        int64_t stored = (int64_t)((uint64_t)get4(record + 56) << 32 | get4(record + 60));
        if (id) memcpy(digits, id + 12, 20), number = atoll(digits);
        if (number < 0 || number >= target) strange++;
        else if (seen[number]++) twice++;
        else {
            if (stored < due_ms[number]) early++;
            late[came++] = (double)(stored - due_ms[number]);
        }
        pull_offset[queue]++;
        at += size;
    }
    if (pull_offset[queue] < ends[queue]) ask_read(c, queue);
    else reading--;
}

static void turn(Answer handle, int timeout_ms) {
    struct epoll_event events[256];
    int n = epoll_wait(poll_fd, events, 256, timeout_ms);
    for (int i = 0; i < n; i++) {
        Conn *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) flush(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            while (read_more(c)) {
                each_answer(c, handle);
                if (c->in_cap - c->in_len > READ_BYTES) break;
            }
        if (handle == on_sent) send_timed(c);
        else flush(c);
    }
}

static void give_up(const char *what, uint64_t limit) {
    if (now_ns() < limit) return;
    fprintf(stderr, "%s took too long: %lld of %lld answered\n", what, (long long)answered, (long long)sent);
    exit(4);
}

static int64_t look_at_ends(Conn *c) {
    int64_t sum = 0;
    uint64_t limit = now_ns() + 20 * 1000000000ull;
    for (int queue = 0; queue < queues; queue++) {
        Header h = {.len = 0};
        char number[32];
        size_t opaque_at;
        field(&h, "topic", topic), sprintf(number, "%d", queue), field(&h, "queueId", number);
        char *p = reserve(c, 2048);
        size_t n = frame(p, 30, 0, &h, "", 0, &opaque_at);
        c->out_len -= 2048 - n;
        patch_opaque(p + opaque_at, queue);
        asked[queue] = queue;
    }
    ends_asked = queues;
    flush(c);
    while (ends_asked) turn(on_end, 1000), give_up("asking for ends", limit);
    for (int queue = 0; queue < queues; queue++) sum += ends[queue];
    return sum;
}

static int by_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    if (argc != 12) {
        fprintf(stderr, "usage: delayed HOST PORT level|delay|deliver|keep CONNECTIONS WINDOW BODY_BYTES COUNT TOPIC QUEUES FIRST_MS SPREAD_MS\n");
        return 1;
    }
    by_level = !strcmp(argv[3], "level"), by_delay = !strcmp(argv[3], "delay"), binary = 1;
    connections = atoi(argv[4]), window = atoi(argv[5]), body_bytes = atoi(argv[6]), target = atoll(argv[7]);
    topic = argv[8], queues = atoi(argv[9]), first_ms = atoll(argv[10]), spread_ms = atoll(argv[11]);
    if (queues < 1 || queues > QUEUES_MAX || connections < 1 || connections > CONNECTIONS_MAX || target < 1) return 1;
    poll_fd = epoll_create1(0);
    started = calloc((size_t)target, sizeof *started), latency = calloc((size_t)target, sizeof *latency);
    due_ms = calloc((size_t)target, sizeof *due_ms), seen = calloc((size_t)target, 1), late = calloc((size_t)target, sizeof *late);
    build_timed();
    for (int i = 0; i < connections; i++) all[i] = connect_to(argv[1], atoi(argv[2]));
    int64_t before = look_at_ends(all[0]);
    memcpy(begins, ends, sizeof ends);
    uint64_t begin = now_ns(), limit = begin + 1700 * 1000000000ull;
    wall_begin_ms = wall_ms();
    for (int i = 0; i < connections; i++) send_timed(all[i]);
    while (answered < target) turn(on_sent, 1000), give_up("sending", limit);
    double send_s = (double)(now_ns() - begin) / 1e9;
    limit = now_ns() + (uint64_t)(first_ms + spread_ms + 60000) * 1000000ull;
    while (strcmp(argv[3], "keep") && look_at_ends(all[0]) - before < messages) {
        struct timespec pause = {0, POLL_MS * 1000000};
        nanosleep(&pause, NULL);
        give_up("waiting", limit);
    }
    printf("{\"messages\":%lld,\"errors\":%lld,\"send_s\":%.3f,\"all_s\":%.3f,\"first_error\":\"%s\"}\n", (long long)messages,
           (long long)errors, send_s, (double)(now_ns() - begin) / 1e9, first_error);
    fflush(stdout);
    if (!strcmp(argv[3], "keep")) return 0;
    if (getchar() == EOF) return 6;
    reading = 0, limit = now_ns() + 120 * 1000000000ull;
    for (int queue = 0; queue < queues; queue++) {
        pull_offset[queue] = begins[queue];
        if (begins[queue] < ends[queue]) ask_read(all[queue % connections], queue), reading++;
    }
    for (int i = 0; i < connections; i++) flush(all[i]);
    while (reading) turn(on_read, 1000), give_up("reading", limit);
    qsort(late, (size_t)came, sizeof *late, by_double);
#define LATE(q) (came ? late[(int64_t)((double)(came - 1) * (q))] : 0.0)
    printf("{\"came\":%lld,\"twice\":%lld,\"early\":%lld,\"strange\":%lld,\"p50_ms\":%.0f,\"p99_ms\":%.0f,\"max_ms\":%.0f}\n",
           (long long)came, (long long)twice, (long long)early, (long long)strange, LATE(0.5), LATE(0.99), LATE(1.0));
    return 0;
}
