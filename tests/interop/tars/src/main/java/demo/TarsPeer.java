package demo;

import com.qq.tars.client.CommunicatorConfig;
import com.qq.tars.client.CommunicatorFactory;
import com.qq.tars.rpc.exc.ServerException;
import com.qq.tars.server.apps.XmlAppContext;
import com.qq.tars.server.core.Server;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.Collections;

/** A TARS server, or a client of one: server PORT, client PORT CASE...; -Ddata=FOLDER: where servers write. */
public class TarsPeer {
  static void serve(int port) throws Exception {
    int other; // its administration's
    try (ServerSocket probe = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      other = probe.getLocalPort();
    }
    File folder = new File(System.getProperty("data"), String.valueOf(port));
    Files.createDirectories(folder.toPath());
    String text =
        String.join(
            "\n",
            "<tars>",
            "<application>",
            "<server>",
            "app=Demo",
            "server=Echo",
            "localip=127.0.0.1",
            "local=tcp -h 127.0.0.1 -p " + other + " -t 3000",
            "basepath=" + folder,
            "datapath=" + folder,
            "logpath=" + folder,
            "loglevel=ERROR",
            "<Demo.Echo.EchoObjAdapter>",
            "servant=Demo.Echo.EchoObj",
            "endpoint=tcp -h 127.0.0.1 -p " + port + " -t 60000",
            "handlegroup=Demo.Echo.EchoObjAdapter",
            "maxconns=1000",
            "protocol=tars",
            "queuecap=10000",
            "queuetimeout=60000",
            "threads=32",
            "</Demo.Echo.EchoObjAdapter>",
            "</server>",
            "<client>",
            "</client>",
            "</application>",
            "</tars>",
            "");
    File config = new File(folder, "config.conf");
    Files.write(config.toPath(), text.getBytes(StandardCharsets.UTF_8));
    System.setProperty("config", config.getPath());
    Server.getInstance().startUp(new XmlAppContext());
    System.out.println("READY " + port);
  }

  final EchoProxy echo;

  TarsPeer(int port) {
    CommunicatorConfig config = new CommunicatorConfig().setSyncInvokeTimeout(20000).setConnectTimeout(10000);
    echo =
        CommunicatorFactory.getInstance()
            .getCommunicator(config.setModuleName("demo"))
            .stringToProxy(EchoProxy.class, "Demo.Echo.EchoObj@tcp -h 127.0.0.1 -p " + port + " -t 60000");
  }

  Object noted() throws Exception {
    int before = Integer.parseInt(echo.noted(""));
    echo.async_note(null, "seen");
    for (int i = 0; i < 100; i++) {
      int now = Integer.parseInt(echo.noted(""));
      if (now > before) return now - before;
      Thread.sleep(20);
    }
    return 0;
  }

  String after(Runnable call) {
    try {
      call.run();
    } catch (RuntimeException e) {
      return "an error, then " + echo.echo("still here");
    }
    return "no error";
  }

  Object call(String name) throws Exception {
    switch (name) {
      case "hello": return echo.echo("Zürich 🚀");
      case "declared": return echo.fails("not today");
      case "undeclared": return echo.breaks("");
      case "missing": return echo.gone("");
      case "slow": return echo.slow("2000");
      case "big": return echo.big("" + (1 << 20)).length();
      case "sent": return echo.echo(String.join("", Collections.nCopies(1 << 20, "v"))).length();
      case "oneway": return noted();
      case "headers": return echo.headers("", Collections.singletonMap("mine", "1"));
      case "many": return Cases.many(() -> echo::echo);
      case "after-declared": return after(() -> echo.fails("not today"));
      case "after-undeclared": return after(() -> echo.breaks(""));
      case "after-missing": return after(() -> echo.gone(""));
      case "after-slow": return after(() -> echo.slow("2000"));
      default: throw new IllegalArgumentException(name);
    }
  }

  static String raised(Throwable e) {
    Throwable why = e;
    while (!(why instanceof ServerException) && why.getCause() != null) why = why.getCause();
    int code = why instanceof ServerException ? ((ServerException) why).getRet() : 0;
    return "[" + code + ", " + Cases.quoted(why.getMessage()) + "]";
  }

  public static void main(String[] args) throws Exception {
    if (args[0].equals("server")) {
      serve(Integer.parseInt(args[1]));
      return;
    }
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true);
    System.setOut(System.err);
    TarsPeer peer = new TarsPeer(Integer.parseInt(args[1]));
    for (String name : Arrays.asList(args).subList(2, args.length))
      Cases.run(out, name, () -> peer.call(name), TarsPeer::raised);
    System.exit(0);
  }
}
