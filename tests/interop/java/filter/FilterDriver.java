import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.parser.SelectorParser;

/**
 * Asks the official classes. A line "E base64" gives an expression, answered "+" or "-" with the reason; a line "M base64" gives
 * the property string of a message, answered by the last expression: T, F, N for unknown, X for a throw.
 */
public final class FilterDriver {
    private FilterDriver() {
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII), 1 << 16);
        BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8), 1 << 16);
        Expression expression = null;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String text = new String(Base64.getDecoder().decode(line.substring(2)), StandardCharsets.UTF_8);
            if (line.charAt(0) == 'E') {
                try {
                    expression = SelectorParser.parse(text);
                    out.write("+");
                } catch (Throwable refused) {
                    expression = null;
                    out.write("- " + String.valueOf(refused.getMessage()).replace('\n', ' ').replace('\r', ' '));
                }
            } else {
                out.write(expression == null ? "-" : evaluated(expression, text));
            }
            out.newLine();
        }
        out.flush();
    }

    private static String evaluated(Expression expression, String properties) {
        try {
            Object value = expression.evaluate(new MessageEvaluationContext(MessageDecoder.string2messageProperties(properties)));
            return value == null ? "N" : Boolean.TRUE.equals(value) ? "T" : Boolean.FALSE.equals(value) ? "F" : "?";
        } catch (Throwable thrown) {
            return "X";
        }
    }
}
