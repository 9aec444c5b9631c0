import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** One line from the test: typed access to its members. */
final class Request {
    private final Map<String, Object> members;

    Request(Map<String, Object> members) {
        this.members = members;
    }

    String text(String name) {
        Object value = members.get(name);
        if (value == null) {
            throw new IllegalArgumentException("the request has no member " + name + ": " + members);
        }
        return value.toString();
    }

    String text(String name, String otherwise) {
        Object value = members.get(name);
        return value == null ? otherwise : value.toString();
    }

    long number(String name) {
        return Long.parseLong(text(name));
    }

    long number(String name, long otherwise) {
        return Long.parseLong(text(name, Long.toString(otherwise)));
    }

    int integer(String name) {
        return Math.toIntExact(number(name));
    }

    int integer(String name, int otherwise) {
        return Math.toIntExact(number(name, otherwise));
    }

    boolean flag(String name) {
        return Boolean.parseBoolean(text(name, "false"));
    }

    @SuppressWarnings("unchecked")
    List<Map<String, Object>> list(String name) {
        return (List<Map<String, Object>>) members.get(name);
    }

    /** The members of an object whose values are texts; none when there is no such object. */
    Map<String, String> texts(String name) {
        Map<String, String> texts = new LinkedHashMap<>();
        if (members.get(name) != null) {
            ((Map<?, ?>) members.get(name)).forEach((key, value) -> texts.put(key.toString(), value.toString()));
        }
        return texts;
    }
}
