import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;

/**
 * The line protocol of the driver: one JSON object a line.
 *
 * A line is handed to the operating system before write() returns: what was reported stays reported when this process
 * is killed, which is what the accounting of the killed consumer rests on.
 */
final class Wire {
    private final FileOutputStream out = new FileOutputStream(FileDescriptor.out);

    void write(Map<String, Object> members) {
        byte[] line = (RemotingSerializable.toJson(members, false) + "\n").getBytes(StandardCharsets.UTF_8);
        synchronized (out) {
            try {
                out.write(line);
            } catch (IOException gone) {
                Runtime.getRuntime().halt(3);
            }
        }
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> parse(String line) {
        return RemotingSerializable.fromJson(line, Map.class);
    }

    static Map<String, Object> members(Object... pairs) {
        Map<String, Object> members = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            members.put((String) pairs[i], pairs[i + 1]);
        }
        return members;
    }

    static long nowMicros() {
        java.time.Instant now = java.time.Instant.now();
        return now.getEpochSecond() * 1_000_000L + now.getNano() / 1000;
    }
}
