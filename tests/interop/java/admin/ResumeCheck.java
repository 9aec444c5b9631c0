import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Has a half message checked again that was set aside: mqadmin has no command for it. Arguments: name server, topic, message id. */
public final class ResumeCheck {
    private ResumeCheck() {
    }

    public static void main(String[] args) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(args[0]);
        admin.setInstanceName(Long.toString(System.nanoTime()));
        admin.start();
        try {
            System.out.println(admin.resumeCheckHalfMessage(args[1], args[2]));
        } finally {
            System.out.flush();
            Runtime.getRuntime().halt(0);
        }
    }
}
