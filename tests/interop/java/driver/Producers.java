import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.trace.TraceContext;
import org.apache.rocketmq.client.trace.TraceDataEncoder;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Everything that sends. */
final class Producers {
    private final Map<String, DefaultMQProducer> open = new ConcurrentHashMap<>();

    void add(String name, DefaultMQProducer producer) {
        open.put(name, producer);
    }

    DefaultMQProducer get(String name) {
        DefaultMQProducer producer = open.get(name);
        if (producer == null) {
            throw new IllegalArgumentException("no producer " + name);
        }
        return producer;
    }

    Map<String, Object> start(Request request) throws Exception {
        String traceTopic = request.text("trace_topic", null);
        DefaultMQProducer producer = traceTopic == null ? new DefaultMQProducer(request.text("group"))
            : new DefaultMQProducer(request.text("group"), true, traceTopic);
        producer.setNamesrvAddr(request.text("namesrv"));
        producer.setInstanceName(request.text("name"));
        producer.setVipChannelEnabled(request.flag("vip"));
        // No silent second copy: a send that fails is a failure the test must see.
        producer.setRetryTimesWhenSendFailed(request.integer("retries", 0));
        producer.setRetryTimesWhenSendAsyncFailed(request.integer("retries", 0));
        producer.setSendMsgTimeout(request.integer("timeout_ms", 10_000));
        producer.setCompressMsgBodyOverHowmuch(request.integer("compress_over", 4096));
        producer.start();
        open.put(request.text("name"), producer);
        return Wire.members();
    }

    Map<String, Object> stop(Request request) {
        DefaultMQProducer producer = open.remove(request.text("name"));
        if (producer != null) {
            producer.shutdown();
        }
        return Wire.members();
    }

    Map<String, Object> createTopic(Request request) throws Exception {
        Compat.createTopic(get(request.text("name")), request.text("topic"), request.integer("queues"));
        return Wire.members();
    }

    /** Sends the listed messages in one of the ways of the client and tells each result. */
    Map<String, Object> send(Request request) throws Exception {
        DefaultMQProducer producer = get(request.text("name"));
        String topic = request.text("topic");
        String mode = request.text("mode", "sync");
        List<Message> messages = new ArrayList<>();
        List<Integer> queues = new ArrayList<>();
        for (Map<String, Object> each : request.list("messages")) {
            Request one = new Request(each);
            messages.add(message(topic, one));
            queues.add(one.integer("queue", -1));
        }
        List<Map<String, Object>> results = new ArrayList<>();
        switch (mode) {
            case "batch":
                results.add(told(producer.send(messages)));
                break;
            case "oneway":
                for (int i = 0; i < messages.size(); i++) {
                    if (queues.get(i) >= 0) {
                        producer.sendOneway(messages.get(i), queue(producer, topic, queues.get(i)));
                    } else {
                        producer.sendOneway(messages.get(i));
                    }
                }
                break;
            case "async":
                results.addAll(sendAsync(producer, messages));
                break;
            default:
                for (int i = 0; i < messages.size(); i++) {
                    try {
                        if (queues.get(i) >= 0) {
                            results.add(told(producer.send(messages.get(i), queue(producer, topic, queues.get(i)))));
                        } else {
                            results.add(told(producer.send(messages.get(i))));
                        }
                    } catch (MQBrokerException | MQClientException refused) {
                        results.add(failed(refused));
                    }
                }
        }
        return Wire.members("results", results);
    }

    /** What the official client reads in the text of a trace message. */
    Map<String, Object> decodeTraces(Request request) {
        List<Map<String, Object>> traces = new ArrayList<>();
        for (TraceContext each : TraceDataEncoder.decoderFromTraceDataString(request.text("text"))) {
            traces.add(Wire.members("kind", each.getTraceType().name(), "group", each.getGroupName(),
                "msg_id", each.getTraceBeans().get(0).getMsgId(), "keys", each.getTraceBeans().get(0).getKeys(),
                "request_id", each.getRequestId(), "success", each.isSuccess(), "code", each.getContextCode()));
        }
        return Wire.members("traces", traces);
    }

    /** Sends one message and tells the reply of whoever consumed it. */
    Map<String, Object> request(Request request) throws Exception {
        Message reply = get(request.text("name")).request(
            message(request.text("topic"), request), request.integer("timeout_ms", 10_000));
        return Wire.members("body", new String(reply.getBody(), java.nio.charset.StandardCharsets.UTF_8),
            "topic", reply.getTopic(), "pushed", reply.getProperty("PUSH_REPLY_TIME"),
            "cluster", reply.getProperty("CLUSTER"));
    }

    private static List<Map<String, Object>> sendAsync(DefaultMQProducer producer, List<Message> messages)
        throws Exception {
        List<Map<String, Object>> results = new ArrayList<>(Collections.nCopies(messages.size(), null));
        CountDownLatch done = new CountDownLatch(messages.size());
        for (int i = 0; i < messages.size(); i++) {
            int place = i;
            producer.send(messages.get(i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    results.set(place, told(result));
                    done.countDown();
                }

                @Override
                public void onException(Throwable refused) {
                    results.set(place, failed(refused));
                    done.countDown();
                }
            });
        }
        if (!done.await(60, TimeUnit.SECONDS)) {
            throw new IllegalStateException(done.getCount() + " callbacks never came");
        }
        return results;
    }

    /**
     * Sends `count` messages whose bodies are prefix + number. `async` keeps `window` of them in flight; `ordered` sends
     * number n to queue n % queues, one thread a queue, each send begun after the former of its queue was acknowledged.
     */
    Map<String, Object> bulk(Request request) throws Exception {
        DefaultMQProducer producer = get(request.text("name"));
        String topic = request.text("topic");
        String prefix = request.text("prefix");
        int count = request.integer("count");
        List<List<Object>> acks = Collections.synchronizedList(new ArrayList<>(count));
        List<List<Object>> failures = Collections.synchronizedList(new ArrayList<>());
        if ("ordered".equals(request.text("mode", "async"))) {
            int queues = request.integer("queues");
            List<Thread> threads = new ArrayList<>();
            for (int q = 0; q < queues; q++) {
                int first = q;
                MessageQueue queue = queue(producer, topic, q);
                Thread thread = new Thread(() -> {
                    for (int n = first; n < count; n += queues) {
                        try {
                            SendResult sent = producer.send(new Message(topic, bytes(prefix + n)), queue);
                            acks.add(ack(n, sent));
                        } catch (Exception refused) {
                            failures.add(List.of(n, refused.toString()));
                        }
                    }
                });
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) {
                thread.join();
            }
        } else {
            int window = request.integer("window", 64);
            Semaphore room = new Semaphore(window);
            for (int n = 0; n < count; n++) {
                room.acquire();
                int number = n;
                producer.send(new Message(topic, bytes(prefix + n)), new SendCallback() {
                    @Override
                    public void onSuccess(SendResult sent) {
                        acks.add(ack(number, sent));
                        room.release();
                    }

                    @Override
                    public void onException(Throwable refused) {
                        failures.add(List.of(number, refused.toString()));
                        room.release();
                    }
                });
            }
            room.acquire(window);
        }
        return Wire.members("acks", acks, "failures", failures);
    }

    private static List<Object> ack(int number, SendResult sent) {
        return List.of(number, sent.getMessageQueue().getQueueId(), sent.getQueueOffset(), sent.getSendStatus().name());
    }

    private static Message message(String topic, Request one) {
        Message message = new Message(topic, bytes(one.text("body")));
        if (one.text("tags", null) != null) {
            message.setTags(one.text("tags"));
        }
        if (one.text("keys", null) != null) {
            message.setKeys(one.text("keys"));
        }
        for (Map.Entry<String, String> property : one.texts("properties").entrySet()) {
            message.putUserProperty(property.getKey(), property.getValue());
        }
        if (one.integer("delay", 0) > 0) {
            message.setDelayTimeLevel(one.integer("delay"));
        }
        if (one.text("timer", null) != null) {
            Compat.timer(message, one.text("timer"), one.number("time"));
        }
        if (one.integer("priority", -1) >= 0) {
            Compat.priority(message, one.integer("priority"));
        }
        if (one.text("property", null) != null) {
            message.putUserProperty("interop", one.text("property"));
        }
        return message;
    }

    private static MessageQueue queue(DefaultMQProducer producer, String topic, int id) throws Exception {
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            if (queue.getQueueId() == id) {
                return queue;
            }
        }
        throw new IllegalArgumentException(topic + " has no queue " + id);
    }

    private static byte[] bytes(String body) {
        return body.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    private static Map<String, Object> told(SendResult sent) {
        return Wire.members(
            "status", sent.getSendStatus().name(), "msg_id", sent.getMsgId(), "offset_msg_id", sent.getOffsetMsgId(),
            "broker", sent.getMessageQueue().getBrokerName(), "queue", sent.getMessageQueue().getQueueId(),
            "offset", sent.getQueueOffset(), "recall_handle", Compat.recallHandle(sent));
    }

    /** Recalls the messages with the listed handles; tells the id of each, or how it was refused. */
    Map<String, Object> recall(Request request) throws Exception {
        DefaultMQProducer producer = get(request.text("name"));
        List<Map<String, Object>> results = new ArrayList<>();
        for (Map<String, Object> each : request.list("messages")) {
            Request one = new Request(each);
            try {
                results.add(Wire.members("msg_id", Compat.recall(producer, one.text("topic"), one.text("handle"))));
            } catch (MQBrokerException | MQClientException refused) {
                results.add(failed(refused));
            }
        }
        return Wire.members("results", results);
    }

    private static Map<String, Object> failed(Throwable refused) {
        int code = -1;
        if (refused instanceof MQBrokerException) {
            code = ((MQBrokerException) refused).getResponseCode();
        } else if (refused instanceof MQClientException) {
            code = ((MQClientException) refused).getResponseCode();
        }
        return Wire.members("error", refused.toString(), "code", code);
    }
}
