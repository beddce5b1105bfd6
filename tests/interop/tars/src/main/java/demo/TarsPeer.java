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
import java.util.Collections;
import java.util.concurrent.atomic.AtomicInteger;

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

  Object many() throws Exception {
    AtomicInteger right = new AtomicInteger();
    Thread[] threads = new Thread[8];
    for (int i = 0; i < 8; i++) {
      int who = i;
      threads[i] =
          new Thread(
              () -> {
                for (int n = 0; n < 125; n++)
                  if (echo.echo(who + "-" + n).equals(who + "-" + n)) right.incrementAndGet();
              });
      threads[i].start();
    }
    for (Thread thread : threads) thread.join();
    return right.get();
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
      case "many": return many();
      case "after-declared": return after(() -> echo.fails("not today"));
      case "after-undeclared": return after(() -> echo.breaks(""));
      case "after-missing": return after(() -> echo.gone(""));
      case "after-slow": return after(() -> echo.slow("2000"));
      default: throw new IllegalArgumentException(name);
    }
  }

  static String quoted(Object value) {
    if (value == null || value instanceof Number) return String.valueOf(value);
    StringBuilder out = new StringBuilder("\"");
    for (char c : value.toString().toCharArray()) {
      if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') out.append(String.format("\\u%04x", (int) c));
      else out.append(c);
    }
    return out.append('"').toString();
  }

  String said(String name) {
    try {
      return "\"value\": " + quoted(call(name));
    } catch (Throwable e) {
      Throwable why = e;
      while (!(why instanceof ServerException) && why.getCause() != null) why = why.getCause();
      int code = why instanceof ServerException ? ((ServerException) why).getRet() : 0;
      return "\"raised\": [" + code + ", " + quoted(why.getMessage()) + "]";
    }
  }

  public static void main(String[] args) throws Exception {
    if (args[0].equals("server")) {
      serve(Integer.parseInt(args[1]));
      return;
    }
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true);
    System.setOut(System.err);
    TarsPeer peer = new TarsPeer(Integer.parseInt(args[1]));
    for (int i = 2; i < args.length; i++)
      out.println("{\"case\": " + quoted(args[i]) + ", " + peer.said(args[i]) + "}");
    System.exit(0);
  }
}
