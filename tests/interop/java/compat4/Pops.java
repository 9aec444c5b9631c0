import java.util.Map;

/** The 4.x client does not pop. */
final class Pops {
    Map<String, Object> start(Request request) {
        throw new UnsupportedOperationException("the 4.x client does not pop");
    }

    Map<String, Object> stop(Request request) {
        return start(request);
    }

    Map<String, Object> pop(Request request) {
        return start(request);
    }

    Map<String, Object> ack(Request request) {
        return start(request);
    }

    Map<String, Object> batchAck(Request request) {
        return start(request);
    }

    Map<String, Object> change(Request request) {
        return start(request);
    }
}
