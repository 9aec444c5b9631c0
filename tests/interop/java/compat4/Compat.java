import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.protocol.heartbeat.MessageModel;

/** What the 4.x client spells differently. */
final class Compat {
    private Compat() {
    }

    static void broadcasting(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.BROADCASTING);
    }

    static void pop(DefaultMQPushConsumer consumer, int batch, long invisibleMs) {
        throw new UnsupportedOperationException("the 4.x client does not pop");
    }

    static void priority(org.apache.rocketmq.common.message.Message message, int priority) {
        throw new UnsupportedOperationException("the 4.x client knows no priorities");
    }

    static void createTopic(DefaultMQProducer producer, String topic, int queues) throws Exception {
        producer.createTopic(producer.getCreateTopicKey(), topic, queues);
    }

    /** The 4.x client has no methods for it, but sends the properties that the broker reads. */
    static void timer(Message message, String kind, long time) {
        String name = kind.equals("deliver_ms") ? "TIMER_DELIVER_MS" : "TIMER_" + kind.toUpperCase();
        message.putUserProperty(name, Long.toString(time));
    }

    static String recallHandle(SendResult sent) {
        return null;
    }

    static String recall(DefaultMQProducer producer, String topic, String handle) throws Exception {
        throw new UnsupportedOperationException("the 4.x client recalls nothing");
    }
}
