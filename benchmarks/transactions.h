/* Halves and their ends; a part of loadgen.c.
 *
 * In mode oneway an end has no answer, as with TransactionMQProducer of the official Java client (5.5.0), whose frames these are.
 * A message counts when its half was answered and its end is sent, and its latency is that of the half. The run is over
 * when all that was committed can be read in the topic's queues, and exactly that: no server is measured for work it has dropped.
 */

static int rollback_percent;
static int64_t commits, rollbacks, visible_before;

/* A field of the answer that is handled; its serialization says what stands between key and value. */
static const char *answer_field(const char *key) {
    size_t k = strlen(key);
    const char *p = memmem(answer_header, answer_header_len, key, k);
    if (!p) return NULL;
    return p + k + (p[k] == '"' ? 3 : 4);
}

static void queue_end(Conn *c, int64_t sequence, const char *offset_id, int64_t queue_offset, int commit, int oneway) {
    Header h;
    char number[32], uniq[40];
    size_t opaque_at;
    char last[17] = {0};
    h.len = 0, h.fields = 0;
    memcpy(last, offset_id + 16, 16); /* address and port come before the place in the log */
    strcpy(uniq, "7F0000010001"), patch_number(uniq + 12, sequence, 20), uniq[32] = 0;
    field(&h, "topic", topic), field(&h, "producerGroup", "bench_producer");
    sprintf(number, "%lld", (long long)queue_offset), field(&h, "tranStateTableOffset", number);
    sprintf(number, "%lld", strtoll(last, NULL, 16)), field(&h, "commitLogOffset", number);
    field(&h, "commitOrRollback", commit ? "8" : "12"), field(&h, "fromTransactionCheck", "false");
    field(&h, "msgId", uniq), field(&h, "transactionId", uniq), field(&h, "bname", "bench");
    char *p = reserve(c, 2048);
    size_t n = frame(p, 37, oneway ? 2 : 0, &h, "", 0, &opaque_at);
    c->out_len -= 2048 - n;
    patch_opaque(p + opaque_at, target + sequence);
}

/* Sequences below `target` are halves, the others commits. */
static void on_transaction(Conn *c, int code, int64_t sequence, const char *body, size_t body_len) {
    (void)body, (void)body_len;
    const char *offset_id = code ? NULL : answer_field("msgId"), *queue_offset = code ? NULL : answer_field("queueOffset");
    if (sequence < target && offset_id && queue_offset) {
        queue_end(c, sequence, offset_id, atoll(queue_offset), 1, 0);
        return;
    }
    if (code || sequence < target) errors++;
    else messages++, take_latency(sequence - target);
    answered++, c->in_flight--;
}

static void on_half(Conn *c, int code, int64_t sequence, const char *body, size_t body_len) {
    (void)body, (void)body_len;
    const char *offset_id = code ? NULL : answer_field("msgId"), *queue_offset = code ? NULL : answer_field("queueOffset");
    answered++, c->in_flight--;
    if (!offset_id || !queue_offset) {
        errors++;
        return;
    }
    take_latency(sequence);
    messages++;
    int commit = sequence % 100 / 10 + sequence % 10 * 10 >= rollback_percent; /* spread over the hundred */
    if (commit) commits++;
    else rollbacks++;
    queue_end(c, sequence, offset_id, atoll(queue_offset), commit, 1);
}

static int64_t visible_sum;
static int visible_answers;

static void on_max_offset(Conn *c, int code, int64_t sequence, const char *body, size_t body_len) {
    (void)c, (void)sequence, (void)body, (void)body_len;
    const char *offset = code ? NULL : answer_field("offset");
    if (!offset) {
        fprintf(stderr, "a queue does not tell its maximum offset: %s\n", first_error);
        exit(5);
    }
    visible_sum += atoll(offset), visible_answers++;
}

static int visible_done(void) { return visible_answers == queues; }

/* How many messages can be read in all queues of the topic. */
static int64_t visible(void) {
    visible_sum = 0, visible_answers = 0;
    for (int queue = 0; queue < queues; queue++) {
        Header h;
        char number[32];
        size_t opaque_at;
        h.len = 0, h.fields = 0;
        field(&h, "topic", topic), sprintf(number, "%d", queue), field(&h, "queueId", number);
        char *p = reserve(all[0], 2048);
        size_t n = frame(p, 30, 0, &h, "", 0, &opaque_at);
        all[0]->out_len -= 2048 - n;
        patch_opaque(p + opaque_at, 0);
    }
    flush(all[0]);
    loop_until(on_max_offset, visible_done);
    return visible_sum;
}

static void await_commits(void) {
    uint64_t limit = now_ns() + 60ull * 1000000000ull;
    struct timespec pause = {0, 2000000};
    for (int i = 0; i < connections; i++)
        while (all[i]->out_at < all[i]->out_len) flush(all[i]);
    for (int64_t there = 0; (there = visible() - visible_before) != commits; nanosleep(&pause, NULL))
        if (there > commits || now_ns() > limit) {
            fprintf(stderr, "%lld were committed, %lld messages can be read\n", (long long)commits, (long long)there);
            exit(6);
        }
}
