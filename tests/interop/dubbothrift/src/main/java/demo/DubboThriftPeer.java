package demo;

import com.alibaba.dubbo.config.ApplicationConfig;
import com.alibaba.dubbo.config.ProtocolConfig;
import com.alibaba.dubbo.config.ReferenceConfig;
import com.alibaba.dubbo.config.RegistryConfig;
import com.alibaba.dubbo.config.ServiceConfig;
import com.alibaba.dubbo.remoting.exchange.Request;
import com.alibaba.dubbo.rpc.RpcException;
import demo.gen.Declared;
import demo.gen.Echo;
import demo.gen.Missing;
import java.lang.reflect.Field;
import java.util.Arrays;
import java.util.Collections;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.thrift.TException;

/** A server or a client of Dubbo's Thrift: server PORT, client PORT CASE... */
public class DubboThriftPeer {
  static class Service implements Echo.Iface {
    public String echo(String text) {
      return text;
    }

    public long add(int a, long b) {
      return a + b;
    }

    public String fails(String why) throws Declared {
      throw new Declared(17, why);
    }

    public String breaks() {
      throw new IllegalStateException("broken inside");
    }

    public String slow(int ms) {
      try {
        Thread.sleep(ms);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      return "slept";
    }

    public String big(int size) {
      return String.join("", Collections.nCopies(size, "v"));
    }

    // Dubbo's codec cannot answer these: it needs a value.
    public void nothing() {}

    public void note(String text) {}

    public int noted() {
      return 0;
    }
  }

  static ApplicationConfig application() {
    ApplicationConfig app = new ApplicationConfig("interop");
    app.setQosEnable(false);
    return app;
  }

  static void serve(int port) throws Exception {
    ProtocolConfig protocol = new ProtocolConfig("thrift", port);
    protocol.setHost("2130706433"); // 127.0.0.1 by its number: written as usual it would be bound as 0.0.0.0
    ServiceConfig<Echo.Iface> service = new ServiceConfig<>();
    service.setApplication(application());
    service.setRegistry(new RegistryConfig("N/A"));
    service.setProtocol(protocol);
    service.setInterface(Echo.Iface.class);
    service.setRef(new Service());
    service.export();
    System.out.println("READY " + port);
    new CountDownLatch(1).await();
  }

  final int port;

  DubboThriftPeer(int port) {
    this.port = port;
  }

  /** A client with a connection of its own. */
  <T> T connect(Class<T> type) {
    ReferenceConfig<T> reference = new ReferenceConfig<>();
    reference.setApplication(application());
    reference.setInterface(type);
    reference.setUrl("thrift://127.0.0.1:" + port + "/" + type.getName());
    reference.setTimeout(10000);
    reference.setRetries(0);
    reference.setCheck(false);
    return reference.get();
  }

  /** An echo, every other time by a sum of the same numbers: answers are told apart by their types, too. */
  Cases.Echo echoes() throws Exception {
    Echo.Iface echo = connect(Echo.Iface.class);
    return text -> {
      String[] numbers = text.split("-");
      int who = Integer.parseInt(numbers[0]), n = Integer.parseInt(numbers[1]);
      return n % 2 == 0 ? echo.echo(text) : echo.add(who, n) == who + n ? text : "another sum";
    };
  }

  interface Asks {
    void run(Echo.Iface echo) throws Exception;
  }

  String after(Asks call) throws Exception {
    Echo.Iface echo = connect(Echo.Iface.class);
    try {
      call.run(echo);
    } catch (Exception e) {
      return e.getClass().getSimpleName() + ", then " + echo.echo("still here");
    }
    return "no error";
  }

  Object call(Echo.Iface echo, String name) throws Exception {
    switch (name) {
      case "hello": return echo.echo("Zürich 🚀");
      case "add": return echo.add(2, 1L << 40);
      case "declared": return echo.fails("not today");
      case "undeclared": return echo.breaks();
      case "missing": return connect(Missing.Iface.class).gone();
      case "slow": return echo.slow(2000);
      case "big": return echo.big(1 << 20).length();
      case "many": return Cases.many(this::echoes);
      case "after-declared": return after(e -> e.fails("not today"));
      case "after-undeclared": return after(e -> e.breaks());
      case "after-slow": return after(e -> e.slow(2000));
      default: throw new IllegalArgumentException(name);
    }
  }

  static String raised(Throwable e) {
    int code = e instanceof Declared ? ((Declared) e).code : e instanceof RpcException ? ((RpcException) e).getCode() : 0;
    String text = e instanceof Declared ? ((Declared) e).why : String.valueOf(e.getMessage()).split("\n")[0];
    return "[" + Cases.quoted(e.getClass().getSimpleName()) + ", " + code + ", " + Cases.quoted(text) + "]";
  }

  public static void main(String[] args) throws Exception {
    Loopback.only();
    if (args[0].equals("server")) {
      serve(Integer.parseInt(args[1]));
      return;
    }
    // A server takes an id that it has ever seen, from whomever, for that first call; all clients begin with 0.
    Field ids = Request.class.getDeclaredField("INVOKE_ID");
    ids.setAccessible(true);
    ((AtomicLong) ids.get(null)).set(System.nanoTime() << 16);
    DubboThriftPeer peer = new DubboThriftPeer(Integer.parseInt(args[1]));
    Echo.Iface echo = peer.connect(Echo.Iface.class);
    for (String name : Arrays.asList(args).subList(2, args.length))
      Cases.run(System.out, name, () -> peer.call(echo, name), DubboThriftPeer::raised);
    System.exit(0);
  }
}
