import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/**
 * A producer and two push consumers that stay connected while mqadmin asks the broker about them.
 *
 * Arguments: name server, topic, broker name, producer group, consumer group, tag expression, messages, group of a
 * broadcasting consumer. The producer sends that many messages to queue 0, the consumers take them; then "ready" is
 * printed and all stay until standard input closes. Client ids are fixed, so that both clusters show the same ones.
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
        consumer.setInstanceName("connected-consumer");
        consumer.subscribe(topic, args[5]);
        start(consumer, nameServer, consumed);

        DefaultMQPushConsumer broadcast = new DefaultMQPushConsumer(args[7]);
        broadcast.setInstanceName("connected-broadcast");
        broadcast.setMessageModel(MessageModel.BROADCASTING);
        broadcast.subscribe(topic, "*");
        CountDownLatch heard = new CountDownLatch(count);
        start(broadcast, nameServer, heard);

        MessageQueue queue = new MessageQueue(topic, brokerName, 0);
        for (int i = 0; i < count; i++) {
            byte[] body = ("connected-" + i).getBytes(StandardCharsets.UTF_8);
            producer.send(new Message(topic, tag, "connected-key-" + i, body), queue);
        }
        boolean all = consumed.await(30, TimeUnit.SECONDS) && heard.await(10, TimeUnit.SECONDS);
        System.out.println(all ? "ready" : "only some messages came");
        System.out.flush();
        while (System.in.read() >= 0) {
            // stay until the caller closes our input
        }
        consumer.shutdown();
        broadcast.shutdown();
        producer.shutdown();
        Runtime.getRuntime().halt(0);
    }

    private static void start(DefaultMQPushConsumer consumer, String nameServer, CountDownLatch consumed)
        throws MQClientException {
        consumer.setNamesrvAddr(nameServer);
        consumer.setClientIP("127.0.0.1");
        consumer.setHeartbeatBrokerInterval(500);
        consumer.setPersistConsumerOffsetInterval(200);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (int i = 0; i < messages.size(); i++) {
                consumed.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
    }
}
