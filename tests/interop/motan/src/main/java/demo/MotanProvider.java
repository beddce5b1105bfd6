package demo;

import com.weibo.api.motan.config.ProtocolConfig;
import com.weibo.api.motan.config.RegistryConfig;
import com.weibo.api.motan.config.ServiceConfig;
import com.weibo.api.motan.rpc.RpcContext;
import java.util.concurrent.CountDownLatch;

/** Exports MotanService with motan2 at PORT, as group "interop", version "1.0"; and as group "east". */
public final class MotanProvider {
  private MotanProvider() {}

  static final class Impl implements MotanService {
    private final String tag;

    Impl(String tag) { this.tag = tag; }

    public String hello(String name) { return "hello " + name + tag; }
    public long add(int a, long b) { return a + b; }
    public byte[] bytes(byte[] data) { return data; }
    public String big(int length) {
      StringBuilder out = new StringBuilder(length);
      while (out.length() < length) out.append((char) ('a' + out.length() % 26));
      return out.toString();
    }
    public String nul() { return null; }
    public void nothing() {}
    public String slow(int ms) {
      try {
        Thread.sleep(ms);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      return "slept " + ms;
    }
    public String fail(String why) throws Refused { throw new Refused(why); }
    public String crash(String why) { throw new IllegalStateException(why); }
    public String attachment(String key) {
      return RpcContext.getContext().getRequest().getAttachments().get(key);
    }
  }

  private static void export(int port, String group, Impl impl) {
    RegistryConfig registry = new RegistryConfig();
    registry.setRegProtocol("local");
    registry.setRegister(false);
    ProtocolConfig protocol = new ProtocolConfig();
    protocol.setId("motan2");
    protocol.setName("motan2");
    ServiceConfig<MotanService> service = new ServiceConfig<>();
    service.setInterface(MotanService.class);
    service.setRef(impl);
    service.setApplication("interop-provider");
    service.setModule("interop");
    service.setGroup(group);
    service.setVersion("1.0");
    service.setHost("127.0.0.1");
    service.setShareChannel(true);
    service.setRegistry(registry);
    service.setProtocol(protocol);
    service.setExport("motan2:" + port);
    service.export();
  }

  public static void main(String[] args) throws Exception {
    int port = Integer.parseInt(args[0]);
    export(port, "interop", new Impl(""));
    export(port, "east", new Impl(" of east"));
    System.out.println("READY " + port);
    System.out.flush();
    new CountDownLatch(1).await();
  }
}
