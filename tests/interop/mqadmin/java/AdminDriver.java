import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Runs many mqadmin commands in one JVM, so that a script of a hundred commands does not start a hundred JVMs.
 *
 * One line in is one command: its arguments joined by NUL, in base64. One line out is its outcome:
 * "done STATUS STDOUT STDERR", both texts in base64. A command that leaves through System.exit is answered by
 * "exit STDOUT STDERR" from the shutdown hook; the status is then that of this very process, and the caller
 * starts the next JVM. That needs neither a SecurityManager nor any change to the official classes.
 */
public final class AdminDriver extends MQAdminStartup {
    private static final PrintStream REPLIES = System.out;
    private static final Object GATE = new Object();
    private static ByteArrayOutputStream out = new ByteArrayOutputStream();
    private static ByteArrayOutputStream err = new ByteArrayOutputStream();
    private static boolean running = false;

    private AdminDriver() {
    }

    public static void main(String[] args) {
        String nameServer = System.getProperty("gantry.namesrv");
        Runtime.getRuntime().addShutdownHook(new Thread(AdminDriver::answerExit));
        Thread command = Thread.currentThread();
        Thread hurry = new Thread(() -> hurryShutdowns(command), "hurry-shutdowns");
        hurry.setDaemon(true);
        hurry.start();
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        requests.lines().forEach(line -> {
            String joined = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8);
            run(joined.split("\0", -1), nameServer);
        });
        Runtime.getRuntime().halt(0);
    }

    private static void run(String[] command, String nameServer) {
        synchronized (GATE) {
            out = new ByteArrayOutputStream();
            err = new ByteArrayOutputStream();
            System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
            running = true;
        }
        // A fresh process knows neither the commands nor the name server of the one before it.
        SUB_COMMANDS.clear();
        if (nameServer == null) {
            System.clearProperty("rocketmq.namesrv.addr");
        } else {
            System.setProperty("rocketmq.namesrv.addr", nameServer);
        }
        int status = 0;
        try {
            MQAdminStartup.main(command);
        } catch (Throwable uncaught) {
            System.err.print("Exception in thread \"main\" ");
            uncaught.printStackTrace();
            status = 1;
        }
        synchronized (GATE) {
            running = false;
            System.out.flush();
            System.err.flush();
            REPLIES.println("done " + status + " " + encoded(out) + " " + encoded(err));
            REPLIES.flush();
        }
    }

    private static void answerExit() {
        synchronized (GATE) {
            if (running) {
                System.out.flush();
                System.err.flush();
                REPLIES.println("exit " + encoded(out) + " " + encoded(err));
                REPLIES.flush();
            }
        }
    }

    /**
     * Closing a client joins its NettyEventExecutor, which looks at its stop flag only every 3 seconds unless an
     * event happens to arrive. An interrupt ends that wait at once; it must come only while the command is joining,
     * for at other times that thread talks to brokers.
     */
    private static void hurryShutdowns(Thread command) {
        ThreadGroup all = command.getThreadGroup();
        while (true) {
            if (command.getState() == Thread.State.TIMED_WAITING && joinsService(command.getStackTrace())) {
                Thread[] threads = new Thread[all.activeCount() + 64];
                int count = all.enumerate(threads, true);
                for (int i = 0; i < count; i++) {
                    if (threads[i].getName().startsWith("NettyEventExecutor")) {
                        threads[i].interrupt();
                    }
                }
            }
            try {
                Thread.sleep(10);
            } catch (InterruptedException stop) {
                return;
            }
        }
    }

    private static boolean joinsService(StackTraceElement[] frames) {
        for (StackTraceElement frame : frames) {
            if (frame.getClassName().equals("org.apache.rocketmq.common.ServiceThread")) {
                return frame.getMethodName().equals("shutdown");
            }
        }
        return false;
    }

    private static String encoded(ByteArrayOutputStream text) {
        return Base64.getEncoder().encodeToString(text.toByteArray());
    }
}
