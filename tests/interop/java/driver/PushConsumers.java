import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;

/** Push consumers; each message that was consumed becomes one line, written before the consumption is confirmed. */
final class PushConsumers {
    /** How long the listener is busy with a message whose body begins with "slow-". */
    private static final long SLOW_MS = 1_500;

    private final Map<String, DefaultMQPushConsumer> open = new ConcurrentHashMap<>();
    private final Map<String, DefaultMQProducer> repliers = new ConcurrentHashMap<>();
    private final Wire wire;

    PushConsumers(Wire wire) {
        this.wire = wire;
    }

    Map<String, Object> start(Request request) throws Exception {
        String name = request.text("name");
        String traceTopic = request.text("trace_topic", null);
        DefaultMQPushConsumer consumer = traceTopic == null ? new DefaultMQPushConsumer(request.text("group"))
            : new DefaultMQPushConsumer(request.text("group"), true, traceTopic);
        consumer.setNamesrvAddr(request.text("namesrv"));
        consumer.setInstanceName(name);
        consumer.setVipChannelEnabled(request.flag("vip"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.valueOf(request.text("from", "CONSUME_FROM_FIRST_OFFSET")));
        consumer.setConsumeThreadMin(request.integer("threads", 8));
        consumer.setConsumeThreadMax(request.integer("threads", 8));
        consumer.setMaxReconsumeTimes(request.integer("max_reconsume", -1));
        // The client drops a heartbeat that meets another one, and the broker then answers SUBSCRIPTION_NOT_LATEST until
        // the next: 30 s by default.
        consumer.setHeartbeatBrokerInterval(request.integer("heartbeat_ms", 2_000));
        consumer.setSuspendCurrentQueueTimeMillis(request.number("suspend_ms", 200));
        if (request.flag("broadcasting")) {
            Compat.broadcasting(consumer);
        }
        if (request.flag("pop")) {
            Compat.pop(consumer, request.integer("batch", 32), request.number("invisible_ms", 60_000));
        }
        String expression = request.text("expression", "*");
        if (request.flag("sql")) {
            consumer.subscribe(request.text("topic"), MessageSelector.bySql(expression));
        } else {
            consumer.subscribe(request.text("topic"), expression);
        }
        String script = request.text("script", "ok");
        long consumeMs = request.number("consume_ms", 0);
        if (request.flag("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) ->
                consume(name, messages, script, consumeMs)
                    ? ConsumeOrderlyStatus.SUCCESS : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
                consume(name, messages, script, consumeMs)
                    ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER);
        }
        if ("reply".equals(script)) {
            DefaultMQProducer replier = new DefaultMQProducer(request.text("group") + "-replies");
            replier.setNamesrvAddr(request.text("namesrv"));
            replier.setInstanceName(name + "-replies");
            replier.setCompressMsgBodyOverHowmuch(request.integer("compress_over", 4096));
            replier.start();
            repliers.put(name, replier);
        }
        consumer.start();
        open.put(name, consumer);
        return Wire.members("client_id", consumer.buildMQClientId());
    }

    Map<String, Object> stop(Request request) {
        DefaultMQPushConsumer consumer = open.remove(request.text("name"));
        if (consumer != null) {
            consumer.shutdown();
        }
        DefaultMQProducer replier = repliers.remove(request.text("name"));
        if (replier != null) {
            replier.shutdown();
        }
        return Wire.members();
    }

    /** Asks the client to look at its queues now; alone it does so every 20 s and when the broker tells of a change. */
    Map<String, Object> rebalance(Request request) {
        open.get(request.text("name")).getDefaultMQPushConsumerImpl().getmQClientFactory().rebalanceImmediately();
        return Wire.members();
    }

    private boolean consume(String name, List<MessageExt> messages, String script, long consumeMs) {
        boolean good = true;
        for (MessageExt message : messages) {
            long began = Wire.nowMicros();
            String body = new String(message.getBody(), java.nio.charset.StandardCharsets.UTF_8);
            long pause = body.startsWith("slow-") ? SLOW_MS : consumeMs;
            if (pause > 0) {
                try {
                    Thread.sleep(pause);
                } catch (InterruptedException stopped) {
                    return false;
                }
            }
            Map<String, Object> line = told(message);
            line.put("event", "message");
            line.put("consumer", name);
            line.put("began", began);
            line.put("ended", Wire.nowMicros());
            wire.write(line);
            if ("reply".equals(script)) {
                try {
                    byte[] answer = ("re: " + body).getBytes(java.nio.charset.StandardCharsets.UTF_8);
                    repliers.get(name).send(MessageUtil.createReplyMessage(message, answer), 3_000);
                } catch (Exception failed) {
                    failed.printStackTrace();
                    return false;
                }
                continue;
            }
            good &= "ok".equals(script) || "fail_first".equals(script) && message.getReconsumeTimes() > 0;
        }
        return good;
    }

    static Map<String, Object> told(MessageExt message) {
        return Wire.members(
            "topic", message.getTopic(), "queue", message.getQueueId(), "offset", message.getQueueOffset(),
            "body", new String(message.getBody(), java.nio.charset.StandardCharsets.UTF_8),
            "msg_id", message.getMsgId(),
            "offset_msg_id", message instanceof MessageClientExt ? ((MessageClientExt) message).getOffsetMsgId() : null,
            "reconsume", message.getReconsumeTimes(), "tags", message.getTags(), "keys", message.getKeys(),
            "property", message.getUserProperty("interop"), "store_ms", message.getStoreTimestamp(),
            "born_ms", message.getBornTimestamp(), "size", message.getStoreSize());
    }
}
