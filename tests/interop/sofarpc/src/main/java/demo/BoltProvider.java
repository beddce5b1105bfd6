package demo;

import com.alipay.sofa.rpc.config.ProviderConfig;
import com.alipay.sofa.rpc.config.ServerConfig;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/** Exports BoltService on 127.0.0.1:PORT (0: a free one), and once more with uniqueId "u1". */
public final class BoltProvider {
  private BoltProvider() {}

  static final class Impl implements BoltService {
    private final AtomicInteger told = new AtomicInteger();
    private final int port;
    private final String tag;

    Impl(int port, String tag) {
      this.port = port;
      this.tag = tag;
    }

    public String hello(String name) { return "hello " + name + tag; }
    public long add(int a, long b) { return a + b; }
    public Person person(Person p) { p.age++; return p; }
    public String fail(String why) throws Refused {
      throw new Refused(why, new IllegalArgumentException("the cause"));
    }
    public String crash(String why) {
      throw new IllegalStateException(why, new IllegalArgumentException("the cause"));
    }
    public String slow(int ms) {
      try {
        Thread.sleep(ms);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      return "slept " + ms;
    }
    public String big(int length) {
      StringBuilder out = new StringBuilder(length);
      while (out.length() < length) out.append((char) ('a' + out.length() % 26));
      return out.toString();
    }
    public byte[] bytes(byte[] data) { return data; }
    public void nothing() {}
    public String nul() { return null; }
    public void tell(String what) { told.incrementAndGet(); }
    public int told() { return told.get(); }
    public int port() { return port; }
  }

  private static void export(ServerConfig server, String uniqueId, Impl impl) {
    ProviderConfig<BoltService> service = new ProviderConfig<BoltService>()
        .setInterfaceId(BoltService.class.getName())
        .setRef(impl)
        .setServer(server)
        .setRegister(false);
    if (uniqueId != null) service.setUniqueId(uniqueId);
    service.export();
  }

  private static int free() throws Exception {
    try (ServerSocket probe = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
      return probe.getLocalPort();
    }
  }

  public static void main(String[] args) throws Exception {
    int wanted = Integer.parseInt(args[0]);
    int port = wanted == 0 ? free() : wanted;
    ServerConfig server = new ServerConfig().setProtocol("bolt").setHost("127.0.0.1").setPort(port).setDaemon(false);
    export(server, null, new Impl(port, ""));
    export(server, "u1", new Impl(port, " of u1"));
    System.out.println("READY " + port);
    System.out.flush();
    new CountDownLatch(1).await();
  }
}
