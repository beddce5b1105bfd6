package demo;

import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.rpc.RpcContext;

/** Exports Echo on 127.0.0.1:PORT, and once more with group "g" and version "2.0.0". */
public final class Provider {
  private Provider() {}

  static final class Impl implements Echo {
    private final AtomicInteger told = new AtomicInteger();
    private final int port;
    private final String tag;

    Impl(int port, String tag) {
      this.port = port;
      this.tag = tag;
    }

    public String hello(String name) { return "hello " + name + tag; }
    public int add(int a, int b) { return a + b; }
    public Types.Person person(Types.Person p) { p.age++; return p; }
    public List<Object> list(List<Object> values) { return values; }
    public Map<String, Object> map(Map<String, Object> values) { return values; }
    public byte[] bytes(byte[] data) { return data; }
    public void nothing() {}
    public String nul() { return null; }
    public String fail(String why) throws Types.Refused {
      throw new Types.Refused(why, new IllegalStateException("the cause"));
    }
    public String slow(int ms) {
      try {
        Thread.sleep(ms);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      return "slept " + ms;
    }
    @SuppressWarnings("deprecation")
    public String attachment(String key) {
      RpcContext.getServerContext().setAttachment("back", "from provider");
      return RpcContext.getContext().getAttachment(key);
    }
    public CompletableFuture<String> later(String name) {
      return CompletableFuture.supplyAsync(() -> "later " + name);
    }
    public void tell(String what) { told.incrementAndGet(); }
    public int told() { return told.get(); }
    public int port() { return port; }
  }

  private static void export(ApplicationConfig app, ProtocolConfig protocol, Impl impl, String group, String version) {
    ServiceConfig<Echo> service = new ServiceConfig<>();
    service.setApplication(app);
    service.setRegistry(new RegistryConfig("N/A"));
    service.setProtocol(protocol);
    service.setInterface(Echo.class);
    service.setRef(impl);
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
    protocol.setHost("127.1"); // 127.0.0.1 would be bound as 0.0.0.0
    export(app, protocol, new Impl(port, ""), null, null);
    export(app, protocol, new Impl(port, " of g"), "g", "2.0.0");
    System.out.println("READY " + port);
    System.out.flush();
    new CountDownLatch(1).await();
  }
}
