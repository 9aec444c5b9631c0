import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * A producer and a push consumer that stay connected while mqadmin asks the broker about them.
 *
 * Arguments: name server, topic, broker name, producer group, consumer group, tag expression, messages.
 * The producer sends that many messages to queue 0, the consumer takes them; then "ready" is printed and both
 * stay until standard input closes. Client ids are fixed, so that both clusters show the same ones.
 */
public final class ConnectedClients {
    private ConnectedClients() {
    }

    public static void main(String[] args) throws Exception {
        String nameServer = args[0];
        String topic = args[1];
        String brokerName = args[2];
        String tag = args[5].split("\\|\\|")[0].trim();
        int count = Integer.parseInt(args[6]);

        DefaultMQProducer producer = new DefaultMQProducer(args[3]);
        producer.setNamesrvAddr(nameServer);
        producer.setClientIP("127.0.0.1");
        producer.setInstanceName("connected-producer");
        producer.setHeartbeatBrokerInterval(500);
        producer.start();

        CountDownLatch consumed = new CountDownLatch(count);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(args[4]);
        consumer.setNamesrvAddr(nameServer);
        consumer.setClientIP("127.0.0.1");
        consumer.setInstanceName("connected-consumer");
        consumer.setHeartbeatBrokerInterval(500);
        consumer.setPersistConsumerOffsetInterval(200);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, args[5]);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (int i = 0; i < messages.size(); i++) {
                consumed.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();

        MessageQueue queue = new MessageQueue(topic, brokerName, 0);
        for (int i = 0; i < count; i++) {
            byte[] body = ("connected-" + i).getBytes(StandardCharsets.UTF_8);
            producer.send(new Message(topic, tag, "connected-key-" + i, body), queue);
        }
        System.out.println(consumed.await(30, TimeUnit.SECONDS) ? "ready" : "only some messages came");
        System.out.flush();
        while (System.in.read() >= 0) {
            // stay until the caller closes our input
        }
        consumer.shutdown();
        producer.shutdown();
        Runtime.getRuntime().halt(0);
    }
}
