import java.util.HashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** What the 5.x client spells differently. */
final class Compat {
    private Compat() {
    }

    static void broadcasting(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.BROADCASTING);
    }

    /** The broker says which queues, and the consumer pops where it says so. */
    static void pop(DefaultMQPushConsumer consumer, int batch, long invisibleMs) {
        consumer.setClientRebalance(false);
        consumer.setPopBatchNums(batch);
        consumer.setPopInvisibleTime(invisibleMs);
    }

    static void createTopic(DefaultMQProducer producer, String topic, int queues) throws Exception {
        producer.createTopic(producer.getCreateTopicKey(), topic, queues, new HashMap<>());
    }

    static void timer(Message message, String kind, long time) {
        switch (kind) {
            case "delay_ms":
                message.setDelayTimeMs(time);
                break;
            case "delay_sec":
                message.setDelayTimeSec(time);
                break;
            default:
                message.setDeliverTimeMs(time);
        }
    }

    static void priority(Message message, int priority) {
        message.setPriority(priority);
    }

    static String recallHandle(SendResult sent) {
        return sent.getRecallHandle();
    }

    static String recall(DefaultMQProducer producer, String topic, String handle) throws Exception {
        return producer.recallMessage(topic, handle);
    }
}
