import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.common.message.MessageQueue;

/** Reading at an offset of one's own choice, offsets, and queries. */
@SuppressWarnings("deprecation")
final class Pulls {
    private final Map<String, DefaultMQPullConsumer> open = new ConcurrentHashMap<>();
    private final Map<String, DefaultLitePullConsumer> lite = new ConcurrentHashMap<>();

    Map<String, Object> start(Request request) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(request.text("group"));
        consumer.setNamesrvAddr(request.text("namesrv"));
        consumer.setInstanceName(request.text("name"));
        consumer.setVipChannelEnabled(request.flag("vip"));
        // Only a heartbeat's answer tells the client which version the broker has, and without that it refuses SQL92 itself.
        consumer.setHeartbeatBrokerInterval(request.integer("heartbeat_ms", 30_000));
        consumer.start();
        open.put(request.text("name"), consumer);
        return Wire.members();
    }

    Map<String, Object> stop(Request request) {
        DefaultMQPullConsumer consumer = open.remove(request.text("name"));
        if (consumer != null) {
            consumer.shutdown();
        }
        return Wire.members();
    }

    Map<String, Object> queues(Request request) throws Exception {
        List<Integer> ids = new ArrayList<>();
        for (MessageQueue queue : consumer(request).fetchSubscribeMessageQueues(request.text("topic"))) {
            ids.add(queue.getQueueId());
        }
        Collections.sort(ids);
        return Wire.members("queues", ids);
    }

    Map<String, Object> pull(Request request) throws Exception {
        String expression = request.text("expression", "*");
        long offset = request.number("offset");
        int max = request.integer("max", 32);
        PullResult pulled = request.flag("sql")
            ? consumer(request).pull(queue(request), MessageSelector.bySql(expression), offset, max)
            : request.flag("wait")
            ? consumer(request).pullBlockIfNotFound(queue(request), expression, offset, max)
            : consumer(request).pull(queue(request), expression, offset, max);
        List<Map<String, Object>> messages = new ArrayList<>();
        if (pulled.getMsgFoundList() != null) {
            for (MessageExt message : pulled.getMsgFoundList()) {
                messages.add(PushConsumers.told(message));
            }
        }
        return Wire.members(
            "status", pulled.getPullStatus().name(), "next", pulled.getNextBeginOffset(),
            "min", pulled.getMinOffset(), "max", pulled.getMaxOffset(), "messages", messages);
    }

    Map<String, Object> offsets(Request request) throws Exception {
        DefaultMQPullConsumer consumer = consumer(request);
        MessageQueue queue = queue(request);
        Map<String, Object> told = Wire.members("min", consumer.minOffset(queue), "max", consumer.maxOffset(queue));
        if (request.text("timestamp", null) != null) {
            told.put("found", consumer.searchOffset(queue, request.number("timestamp")));
        }
        return told;
    }

    Map<String, Object> commit(Request request) throws Exception {
        DefaultMQPullConsumer consumer = consumer(request);
        consumer.updateConsumeOffset(queue(request), request.number("offset"));
        consumer.getOffsetStore().persist(queue(request));
        return Wire.members();
    }

    Map<String, Object> committed(Request request) throws Exception {
        return Wire.members("offset", consumer(request).fetchConsumeOffset(queue(request), true));
    }

    Map<String, Object> view(Request request) throws Exception {
        MessageExt message = consumer(request).viewMessage(request.text("topic"), request.text("id"));
        return Wire.members("message", message == null ? null : PushConsumers.told(message));
    }

    Map<String, Object> query(Request request) throws Exception {
        QueryResult found = consumer(request).queryMessage(
            request.text("topic"), request.text("key"), request.integer("max", 32), request.number("begin", 0),
            request.number("end", Long.MAX_VALUE));
        List<Map<String, Object>> messages = new ArrayList<>();
        for (MessageExt message : found.getMessageList()) {
            messages.add(PushConsumers.told(message));
        }
        return Wire.members("messages", messages);
    }

    Map<String, Object> decodeId(Request request) throws Exception {
        MessageId id = MessageDecoder.decodeMessageId(request.text("id"));
        String host = id.getAddress().toString();
        return Wire.members("host", host.substring(host.indexOf('/') + 1), "physical_offset", id.getOffset());
    }

    Map<String, Object> seekStart(Request request) throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(request.text("group"));
        consumer.setNamesrvAddr(request.text("namesrv"));
        consumer.setInstanceName(request.text("name"));
        consumer.setAutoCommit(false);
        consumer.setPullBatchSize(16);
        consumer.start();
        consumer.assign(Collections.singletonList(queue(request)));
        lite.put(request.text("name"), consumer);
        return Wire.members();
    }

    Map<String, Object> seekStop(Request request) {
        DefaultLitePullConsumer consumer = lite.remove(request.text("name"));
        if (consumer != null) {
            consumer.shutdown();
        }
        return Wire.members();
    }

    /** A consumer that is given its queues and sends its expression with each pull, waiting at the end of a queue. */
    Map<String, Object> liteStart(Request request) throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(request.text("group"));
        consumer.setNamesrvAddr(request.text("namesrv"));
        consumer.setInstanceName(request.text("name"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // Only a heartbeat's answer tells the client which version the broker has, and without that it refuses SQL92 itself.
        consumer.setHeartbeatBrokerInterval(500);
        consumer.subscribe(request.text("topic"), MessageSelector.bySql(request.text("expression")));
        consumer.start();
        lite.put(request.text("name"), consumer);
        return Wire.members();
    }

    /** What comes within `ms`. */
    Map<String, Object> litePoll(Request request) {
        List<Map<String, Object>> messages = new ArrayList<>();
        for (MessageExt message : lite.get(request.text("name")).poll(request.number("ms"))) {
            messages.add(PushConsumers.told(message));
        }
        return Wire.members("messages", messages);
    }

    /** Moves to `offset` and reads `count` messages from there; with `commit` the place is made durable. */
    Map<String, Object> seek(Request request) throws Exception {
        DefaultLitePullConsumer consumer = lite.get(request.text("name"));
        MessageQueue queue = queue(request);
        consumer.seek(queue, request.number("offset"));
        int count = request.integer("count");
        List<Map<String, Object>> messages = new ArrayList<>();
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (messages.size() < count && System.nanoTime() < deadline) {
            for (MessageExt message : consumer.poll(500)) {
                // A pull that was under way at the seek may still bring messages of the former place.
                if (message.getQueueOffset() == request.number("offset") + messages.size()) {
                    messages.add(PushConsumers.told(message));
                }
            }
        }
        Map<String, Object> told = Wire.members("messages", messages);
        if (request.flag("commit")) {
            consumer.commit(Collections.singleton(queue), true);
            told.put("committed", consumer.committed(queue));
        }
        return told;
    }

    private DefaultMQPullConsumer consumer(Request request) {
        DefaultMQPullConsumer consumer = open.get(request.text("name"));
        if (consumer == null) {
            throw new IllegalArgumentException("no pull consumer " + request.text("name"));
        }
        return consumer;
    }

    private static MessageQueue queue(Request request) {
        return new MessageQueue(request.text("topic"), request.text("broker"), request.integer("queue"));
    }
}
