package demo;

import com.weibo.api.motan.config.ProtocolConfig;
import com.weibo.api.motan.config.RefererConfig;
import com.weibo.api.motan.config.RegistryConfig;
import com.weibo.api.motan.exception.MotanAbstractException;
import com.weibo.api.motan.rpc.RpcContext;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Calls MotanService at 127.0.0.1:PORT and prints one line of JSON a case: "case", then "value" or "raised".
 * Arguments: PORT, then the cases to run. The property "serialization" is Motan's.
 */
public final class MotanConsumer {
  private MotanConsumer() {}

  private static int port;
  private static List<String> wanted;

  private static String described(Throwable e) {
    return Cases.described(e, e instanceof MotanAbstractException ? "#" + ((MotanAbstractException) e).getErrorCode() : "");
  }

  private static void run(String name, Cases.Case body) {
    if (wanted.contains(name))
      Cases.run(System.out, name, () -> String.valueOf(body.run()), e -> Cases.quoted(described(e)));
  }

  private static <T> T reference(Class<T> type, String group, int timeout) {
    RegistryConfig registry = new RegistryConfig();
    registry.setRegProtocol("local");
    ProtocolConfig protocol = new ProtocolConfig();
    protocol.setId("motan2");
    protocol.setName("motan2");
    protocol.setHaStrategy("failfast");
    protocol.setSerialization(System.getProperty("serialization", "simple"));
    RefererConfig<T> referer = new RefererConfig<>();
    referer.setInterface(type);
    referer.setApplication("interop-consumer");
    referer.setModule("interop");
    referer.setGroup(group);
    referer.setVersion("1.0");
    referer.setRequestTimeout(timeout);
    referer.setRetries(0);
    referer.setRegistry(registry);
    referer.setProtocol(protocol);
    referer.setDirectUrl("127.0.0.1:" + port);
    return referer.getRef();
  }

  public static void main(String[] args) throws Exception {
    port = Integer.parseInt(args[0]);
    wanted = Arrays.asList(args).subList(1, args.length);
    MotanService service = reference(MotanService.class, "interop", 10_000);

    run("hello", () -> service.hello("Z\u00fcrich \ud83d\ude80"));
    run("add", () -> service.add(2, 1L << 40));
    run("bytes", () -> Arrays.equals(service.bytes(new byte[] {0, 1, -1, 10}), new byte[] {0, 1, -1, 10}));
    run("big", () -> {
      String text = service.big(1 << 20);
      return text.length() + " " + text.charAt(0) + text.charAt(1) + text.charAt((1 << 20) - 1);
    });
    run("nul", () -> service.nul());
    run("nothing", () -> {
      service.nothing();
      return "done";
    });
    run("fail", () -> service.fail("not today"));
    run("crash", () -> service.crash("not today"));
    run("attachment", () -> {
      RpcContext.getContext().setRpcAttachment("trace", "t-17");
      try {
        return service.attachment("trace");
      } finally {
        RpcContext.destroy();
      }
    });
    run("group", () -> reference(MotanService.class, "east", 10_000).hello("x"));
    run("missing", () -> reference(Missing.class, "interop", 10_000).hello("x"));
    run("timeout", () -> reference(MotanService.class, "interop", 300).slow(900));
    run("many", () -> {
      ExecutorService threads = Executors.newFixedThreadPool(8);
      List<Future<Boolean>> asked = new ArrayList<>();
      for (int i = 0; i < 200; i++) {
        String name = "n" + i;
        asked.add(threads.submit(() -> service.hello(name).equals("hello " + name)));
      }
      int right = 0;
      for (Future<Boolean> one : asked) right += one.get() ? 1 : 0;
      threads.shutdown();
      return right;
    });
    run("idle", () -> {
      service.hello("before");
      Thread.sleep(3000); // longer than between two heartbeats
      return service.hello("again");
    });
    System.exit(0);
  }
}
