import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Transactional producers. A message's body begins with what its transaction answers, "local/check:": commit, rollback or
 * unknown each, as in "unknown/commit:order 7". Each check becomes one line.
 */
final class Transactions {
    private final Producers producers;
    private final Wire wire;

    Transactions(Producers producers, Wire wire) {
        this.producers = producers;
        this.wire = wire;
    }

    /** `hold_ms`: how long the local transaction takes. */
    Map<String, Object> start(Request request) throws Exception {
        String name = request.text("name");
        TransactionMQProducer producer = new TransactionMQProducer(request.text("group"));
        producer.setNamesrvAddr(request.text("namesrv"));
        producer.setInstanceName(name);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setSendMsgTimeout(10_000);
        producer.setHeartbeatBrokerInterval(request.integer("heartbeat_ms", 1_000));
        long holdMs = request.number("hold_ms", 0);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                if (holdMs > 0) {
                    try {
                        Thread.sleep(holdMs);
                    } catch (InterruptedException stopped) {
                        return LocalTransactionState.UNKNOW;
                    }
                }
                return state(body(message), 0);
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                LocalTransactionState state = state(body(message), 1);
                wire.write(Wire.members(
                    "event", "check", "producer", name, "topic", message.getTopic(), "queue", message.getQueueId(),
                    "offset", message.getQueueOffset(), "body", body(message), "msg_id", message.getMsgId(),
                    "transaction_id", message.getTransactionId(),
                    "times", message.getProperty(MessageConst.PROPERTY_TRANSACTION_CHECK_TIMES),
                    "tags", message.getTags(), "keys", message.getKeys(), "state", state.name()));
                return state;
            }
        });
        producer.start();
        producers.add(name, producer);
        return Wire.members();
    }

    Map<String, Object> send(Request request) throws Exception {
        TransactionMQProducer producer = (TransactionMQProducer) producers.get(request.text("name"));
        String topic = request.text("topic");
        List<Map<String, Object>> results = new ArrayList<>();
        for (Map<String, Object> each : request.list("messages")) {
            Request one = new Request(each);
            Message message = new Message(topic, one.text("body").getBytes(StandardCharsets.UTF_8));
            if (one.text("tags", null) != null) {
                message.setTags(one.text("tags"));
            }
            if (one.text("keys", null) != null) {
                message.setKeys(one.text("keys"));
            }
            if (one.text("immunity", null) != null) {
                message.putUserProperty(MessageConst.PROPERTY_CHECK_IMMUNITY_TIME_IN_SECONDS, one.text("immunity"));
            }
            try {
                TransactionSendResult sent = producer.sendMessageInTransaction(message, null);
                results.add(Wire.members(
                    "status", sent.getSendStatus().name(), "state", sent.getLocalTransactionState().name(),
                    "msg_id", sent.getMsgId(), "offset_msg_id", sent.getOffsetMsgId(),
                    "transaction_id", sent.getTransactionId(), "queue", sent.getMessageQueue().getQueueId(),
                    "offset", sent.getQueueOffset()));
            } catch (MQClientException refused) {
                Throwable cause = refused.getCause();
                int code = cause instanceof MQBrokerException
                    ? ((MQBrokerException) cause).getResponseCode() : refused.getResponseCode();
                results.add(Wire.members("error", refused.toString(), "code", code));
            }
        }
        return Wire.members("results", results);
    }

    private static String body(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    private static LocalTransactionState state(String body, int place) {
        String[] answers = body.substring(0, body.indexOf(':')).split("/");
        switch (answers[Math.min(place, answers.length - 1)]) {
            case "commit":
                return LocalTransactionState.COMMIT_MESSAGE;
            case "rollback":
                return LocalTransactionState.ROLLBACK_MESSAGE;
            default:
                return LocalTransactionState.UNKNOW;
        }
    }
}
