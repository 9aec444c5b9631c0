import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ChangeInvisibleTimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;

/** Single pops, acknowledgements and changes of the invisible time, by the client's own lower half, as its proxy uses it. */
final class Pops {
    private static final long TIMEOUT_MS = 40_000;

    private final Map<String, DefaultMQProducer> open = new ConcurrentHashMap<>();

    Map<String, Object> start(Request request) throws Exception {
        String name = request.text("name");
        DefaultMQProducer holder = new DefaultMQProducer("POP-" + name);
        holder.setNamesrvAddr(request.text("namesrv"));
        holder.setInstanceName(name);
        holder.start();
        open.put(name, holder);
        return Wire.members();
    }

    Map<String, Object> stop(Request request) {
        DefaultMQProducer holder = open.remove(request.text("name"));
        if (holder != null) {
            holder.shutdown();
        }
        return Wire.members();
    }

    Map<String, Object> pop(Request request) throws Exception {
        PopMessageRequestHeader header = new PopMessageRequestHeader();
        header.setConsumerGroup(request.text("group"));
        header.setTopic(request.text("topic"));
        header.setQueueId(request.integer("queue", -1));
        header.setMaxMsgNums(request.integer("count", 32));
        header.setInvisibleTime(request.number("invisible_ms", 60_000));
        header.setPollTime(request.number("poll_ms", 0));
        header.setBornTime(System.currentTimeMillis());
        header.setInitMode(request.integer("init", 0));
        header.setExpType("TAG");
        header.setExp(request.text("expression", "*"));
        header.setOrder(request.flag("order"));
        header.setAttemptId(request.text("attempt", null));
        CompletableFuture<PopResult> done = new CompletableFuture<>();
        api(request).popMessageAsync(request.text("broker"), request.text("broker_address"), header, TIMEOUT_MS,
            new PopCallback() {
                @Override
                public void onSuccess(PopResult result) {
                    done.complete(result);
                }

                @Override
                public void onException(Throwable failed) {
                    done.completeExceptionally(failed);
                }
            });
        PopResult result = done.get(TIMEOUT_MS, TimeUnit.MILLISECONDS);
        List<Map<String, Object>> messages = new ArrayList<>();
        if (result.getMsgFoundList() != null) {
            for (MessageExt message : result.getMsgFoundList()) {
                Map<String, Object> told = PushConsumers.told(message);
                told.put("handle", message.getProperty(MessageConst.PROPERTY_POP_CK));
                told.put("first_pop", message.getProperty(MessageConst.PROPERTY_FIRST_POP_TIME));
                messages.add(told);
            }
        }
        return Wire.members("status", result.getPopStatus().name(), "rest", result.getRestNum(), "messages", messages,
            "pop_time", result.getPopTime(), "invisible", result.getInvisibleTime());
    }

    Map<String, Object> ack(Request request) throws Exception {
        String handle = request.text("handle");
        String[] fields = ExtraInfoUtil.split(handle);
        AckMessageRequestHeader header = new AckMessageRequestHeader();
        header.setConsumerGroup(request.text("group"));
        header.setTopic(ExtraInfoUtil.getRealTopic(fields, request.text("topic"), request.text("group")));
        header.setQueueId(ExtraInfoUtil.getQueueId(fields));
        header.setOffset(ExtraInfoUtil.getQueueOffset(fields));
        header.setExtraInfo(handle);
        Answer answer = new Answer();
        api(request).ackMessageAsync(request.text("broker_address"), TIMEOUT_MS, answer, header);
        return Wire.members("status", answer.get().getStatus().name());
    }

    Map<String, Object> batchAck(Request request) throws Exception {
        Answer answer = new Answer();
        api(request).batchAckMessageAsync(request.text("broker_address"), TIMEOUT_MS, answer, request.text("topic"),
            request.text("group"), Arrays.asList(request.text("handles").split("\\|")));
        return Wire.members("status", answer.get().getStatus().name());
    }

    Map<String, Object> change(Request request) throws Exception {
        String handle = request.text("handle");
        String[] fields = ExtraInfoUtil.split(handle);
        ChangeInvisibleTimeRequestHeader header = new ChangeInvisibleTimeRequestHeader();
        header.setConsumerGroup(request.text("group"));
        header.setTopic(ExtraInfoUtil.getRealTopic(fields, request.text("topic"), request.text("group")));
        header.setQueueId(ExtraInfoUtil.getQueueId(fields));
        header.setOffset(ExtraInfoUtil.getQueueOffset(fields));
        header.setExtraInfo(handle);
        header.setInvisibleTime(request.number("invisible_ms", 60_000));
        Answer answer = new Answer();
        api(request).changeInvisibleTimeAsync(request.text("broker"), request.text("broker_address"), header, TIMEOUT_MS, answer);
        return Wire.members("status", answer.get().getStatus().name(), "handle", answer.get().getExtraInfo());
    }

    private MQClientAPIImpl api(Request request) {
        return open.get(request.text("name")).getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
    }

    private static final class Answer implements AckCallback {
        private final CompletableFuture<AckResult> done = new CompletableFuture<>();

        @Override
        public void onSuccess(AckResult result) {
            done.complete(result);
        }

        @Override
        public void onException(Throwable failed) {
            done.completeExceptionally(failed);
        }

        AckResult get() throws Exception {
            return done.get(TIMEOUT_MS, TimeUnit.MILLISECONDS);
        }
    }
}
