package demo;

import com.google.protobuf.StringValue;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.rpc.RpcContext;

/**
 * Exports Echo on 127.0.0.1:PORT, and once more with group "g" and version "2.0.0".
 * Behind the port perhaps the milliseconds of silence after which it sends heartbeats, or closes.
 */
public final class Provider {
  private Provider() {}

  static final class Impl extends Later.Impl implements Echo {
    private final Map<String, Integer> told = new ConcurrentHashMap<>();
    private final int port;
    private final String tag;

    Impl(int port, String tag) {
      this.port = port;
      this.tag = tag;
    }

    public String hello(String name) { return "hello " + name + tag; }
    public int add(int a, int b) { return a + b; }
    public String primitives(boolean a, byte b, short c, char d, int e, long f, float g, double h) {
      return a + " " + b + " " + c + " " + d + " " + e + " " + f + " " + g + " " + h;
    }
    public boolean not(boolean a) { return !a; }
    public char next(char a) { return (char) (a + 1); }
    public long negate(long a) { return -a; }
    public double half(double a) { return a / 2; }
    public int[] reversed(int[] values) {
      int[] out = new int[values.length];
      for (int i = 0; i < out.length; i++) out[i] = values[out.length - 1 - i];
      return out;
    }
    public Types.Color opposite(Types.Color color) {
      return color == Types.Color.RED ? Types.Color.GREEN : Types.Color.RED;
    }
    public Types.Person person(Types.Person p) { p.age++; return p; }
    public List<Object> list(List<Object> values) { return values; }
    public Map<String, Object> map(Map<String, Object> values) { return values; }
    public byte[] bytes(byte[] data) { return data; }
    public StringValue wrapped(StringValue value) { return StringValue.of("wrapped " + value.getValue()); }
    public void nothing() {}
    public String nul() { return null; }
    public String fail(String why) throws Types.Refused {
      throw new Types.Refused(why, new IllegalStateException("the cause", new IllegalArgumentException("its cause")));
    }
    public String failUnchecked(String why) { throw new IllegalArgumentException(why); }
    public String slow(int ms) {
      try {
        Thread.sleep(ms);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      return "slept " + ms;
    }
    public String hang(int ms) { return slow(ms); }
    public byte[] produce(int ms, int size) { slow(ms); return new byte[size]; }
    @SuppressWarnings("deprecation")
    public String attachment(String key) {
      RpcContext.getServerContext().setAttachment("back", "from provider");
      return RpcContext.getContext().getAttachment(key);
    }
    @SuppressWarnings("deprecation")
    public String sent(String key) { return RpcContext.getContext().getInvocation().getAttachment(key); }
    public void tell(String what) { told.merge(what, 1, Integer::sum); }
    public int told(String what) { return told.getOrDefault(what, 0); }
    public int slowAt(int slow, String what) {
      tell(what);
      if (slow == port) slow(5000);
      return port;
    }
    public String heard(String what) { return port + " " + told(what); }
    public int port() { return port; }
    public String subscribe(Listener listener) { return "told, and heard " + listener.changed("news"); }
  }

  private static void export(ApplicationConfig app, ProtocolConfig protocol, Impl impl, String group, String version) {
    ServiceConfig<Echo> service = new ServiceConfig<>();
    service.setApplication(app);
    service.setRegistry(new RegistryConfig("N/A"));
    service.setProtocol(protocol);
    service.setInterface(Echo.class);
    service.setRef(impl);
    service.setMethods(new ArrayList<>(Arrays.asList(Callbacks.subscribe())));
    if (group != null) service.setGroup(group);
    if (version != null) service.setVersion(version);
    service.export();
  }

  public static void main(String[] args) throws Exception {
    Loopback.only();
    int port = Integer.parseInt(args[0]);
    ApplicationConfig app = new ApplicationConfig("interop-provider");
    app.setQosEnable(false);
    ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
    protocol.setHost("2130706433"); // 127.0.0.1 by its number: written as usual it would be bound as 0.0.0.0
    if (args.length > 1) protocol.setHeartbeat(Integer.parseInt(args[1]));
    export(app, protocol, new Impl(port, ""), null, null);
    export(app, protocol, new Impl(port, " of g"), "g", "2.0.0");
    System.out.println("READY " + port);
    System.out.flush();
    new CountDownLatch(1).await();
  }
}
