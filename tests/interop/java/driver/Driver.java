import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Does what the lines on its standard input ask, with the official Java client, and answers in lines on its standard
 * output. Requests carry a call number and run beside each other; the answer repeats it. It ends when its input ends.
 */
public final class Driver {
    private interface Operation {
        Map<String, Object> run(Request request) throws Exception;
    }

    private Driver() {
    }

    public static void main(String[] args) throws Exception {
        Wire wire = new Wire();
        System.setOut(System.err);
        Map<String, Operation> operations = operations(wire);
        ExecutorService workers = Executors.newCachedThreadPool(work -> {
            Thread thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        });
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        wire.write(Wire.members("event", "ready"));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<String, Object> members = Wire.parse(line);
            workers.execute(() -> wire.write(answer(operations, members)));
        }
        Runtime.getRuntime().halt(0);
    }

    private static Map<String, Object> answer(Map<String, Operation> operations, Map<String, Object> members) {
        Request request = new Request(members);
        Map<String, Object> answer;
        try {
            Operation operation = operations.get(request.text("op"));
            if (operation == null) {
                throw new IllegalArgumentException("no operation " + request.text("op"));
            }
            answer = operation.run(request);
        } catch (Throwable failed) {
            failed.printStackTrace();
            answer = Wire.members("error", failed.toString());
        }
        answer.put("call", members.get("call"));
        return answer;
    }

    private static Map<String, Operation> operations(Wire wire) {
        Producers producers = new Producers();
        PushConsumers consumers = new PushConsumers(wire);
        Transactions transactions = new Transactions(producers, wire);
        Pulls pulls = new Pulls();
        Pops pops = new Pops();
        Map<String, Operation> all = new HashMap<>();
        all.put("producer_start", producers::start);
        all.put("producer_stop", producers::stop);
        all.put("create_topic", producers::createTopic);
        all.put("send", producers::send);
        all.put("bulk", producers::bulk);
        all.put("request", producers::request);
        all.put("decode_traces", producers::decodeTraces);
        all.put("transaction_start", transactions::start);
        all.put("transaction_send", transactions::send);
        all.put("recall", producers::recall);
        all.put("transaction_stop", producers::stop);
        all.put("consumer_start", consumers::start);
        all.put("consumer_stop", consumers::stop);
        all.put("rebalance", consumers::rebalance);
        all.put("pull_start", pulls::start);
        all.put("pull_stop", pulls::stop);
        all.put("queues", pulls::queues);
        all.put("pull", pulls::pull);
        all.put("offsets", pulls::offsets);
        all.put("commit", pulls::commit);
        all.put("committed", pulls::committed);
        all.put("view", pulls::view);
        all.put("query", pulls::query);
        all.put("decode_id", pulls::decodeId);
        all.put("lite_start", pulls::liteStart);
        all.put("lite_poll", pulls::litePoll);
        all.put("seek_start", pulls::seekStart);
        all.put("seek_stop", pulls::seekStop);
        all.put("seek", pulls::seek);
        all.put("pop_start", pops::start);
        all.put("pop_stop", pops::stop);
        all.put("pop", pops::pop);
        all.put("pop_ack", pops::ack);
        all.put("pop_batch_ack", pops::batchAck);
        all.put("pop_change", pops::change);
        return all;
    }
}
