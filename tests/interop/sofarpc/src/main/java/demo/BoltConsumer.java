package demo;

import com.alipay.sofa.rpc.api.future.SofaResponseFuture;
import com.alipay.sofa.rpc.config.ApplicationConfig;
import com.alipay.sofa.rpc.config.ConsumerConfig;
import com.alipay.sofa.rpc.core.exception.SofaRpcException;
import com.alipay.sofa.rpc.core.invoke.SofaResponseCallback;
import com.alipay.sofa.rpc.core.request.RequestBase;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Calls BoltService at 127.0.0.1:PORT and prints one line of JSON a case: "case", then "value" or "raised".
 * Arguments: PORT, then the cases to run.
 */
public final class BoltConsumer {
  private BoltConsumer() {}

  private static int port;
  private static List<String> wanted;

  private static String described(Throwable e) {
    return Cases.described(e, e instanceof SofaRpcException ? "#" + ((SofaRpcException) e).getErrorType() : "");
  }

  private static void run(String name, Cases.Case body) {
    if (wanted.contains(name))
      Cases.run(System.out, name, () -> String.valueOf(body.run()), e -> Cases.quoted(described(e)));
  }

  private static <T> ConsumerConfig<T> reference(Class<T> type, String invokeType, int timeout) {
    return new ConsumerConfig<T>()
        .setApplication(new ApplicationConfig().setAppName("interop-consumer"))
        .setInterfaceId(type.getName())
        .setProtocol("bolt")
        .setDirectUrl("bolt://127.0.0.1:" + port)
        .setInvokeType(invokeType)
        .setTimeout(timeout)
        .setConnectTimeout(5000)
        .setRegister(false)
        .setSubscribe(false)
        .setRepeatedReferLimit(-1);
  }

  private static Person person() {
    Person grace = new Person();
    grace.name = "Grace";
    Person ada = new Person();
    ada.name = "Ada \ud83d\ude80";
    ada.age = 36;
    ada.born = new Date(1234567890123L);
    ada.friend = grace;
    ada.friends = new ArrayList<>(Arrays.asList(grace, ada));
    ada.extra = new HashMap<>();
    ada.extra.put("list", new ArrayList<>(Arrays.asList(1, 1L << 40, 3.5, "x", null, true)));
    return ada;
  }

  /** What a callback is told. */
  private static final class Told implements SofaResponseCallback<Object> {
    final CompletableFuture<Object> answer = new CompletableFuture<>();

    public void onAppResponse(Object value, String method, RequestBase request) { answer.complete(value); }
    public void onAppException(Throwable e, String method, RequestBase request) {
      answer.complete("onAppException " + described(e));
    }
    public void onSofaException(SofaRpcException e, String method, RequestBase request) {
      answer.complete("onSofaException " + described(e));
    }
  }

  private interface Call {
    Object of(BoltService service) throws Exception;
  }

  private static Object future(Call call) throws Exception {
    call.of(reference(BoltService.class, "future", 5000).refer());
    return SofaResponseFuture.getResponse(5000, true);
  }

  private static Object callback(Call call) throws Exception {
    Told told = new Told();
    call.of(reference(BoltService.class, "callback", 5000).setOnReturn(told).refer());
    return told.answer.get(5, TimeUnit.SECONDS);
  }

  private static int many(BoltService service, int threads, int calls) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    List<Future<Integer>> all = new ArrayList<>();
    for (int t = 0; t < threads; t++) {
      int thread = t;
      all.add(pool.submit(() -> {
        int good = 0;
        for (int i = 0; i < calls; i++) {
          String name = thread + "/" + i;
          if (service.hello(name).equals("hello " + name)) good++;
        }
        return good;
      }));
    }
    int good = 0;
    for (Future<Integer> one : all) good += one.get(30, TimeUnit.SECONDS);
    pool.shutdown();
    return good;
  }

  /** The first answer after a call that failed. */
  private static String again(BoltService service) throws Exception {
    boolean gone = false;
    for (int i = 0; i < 600; i++, Thread.sleep(50)) {
      try {
        String answer = service.hello("again");
        if (gone) return answer;
      } catch (SofaRpcException e) {
        gone = true;
      }
    }
    return gone ? "gone for good" : "never gone";
  }

  public static void main(String[] args) {
    System.setProperty("bolt.tcp.heartbeat.interval", "300"); // for the idle cases
    port = Integer.parseInt(args[0]);
    wanted = Arrays.asList(args).subList(1, args.length);
    BoltService service = reference(BoltService.class, "sync", 5000).refer();
    run("hello", () -> service.hello("Z\u00fcrich \ud83d\ude80"));
    run("add", () -> service.add(2, 1L << 40));
    run("person", () -> {
      Person p = service.person(person());
      boolean whole = p.friends.get(1) == p && p.friends.get(0) == p.friend;
      return p.name + " " + p.age + " " + p.born.getTime() + " " + p.friend.name + " " + whole + " " + p.extra;
    });
    run("fail", () -> service.fail("not today"));
    run("crash", () -> service.crash("not today"));
    run("nothing", () -> { service.nothing(); return "done"; });
    run("nul", () -> service.nul());
    run("big", () -> {
      String big = service.big(1 << 20);
      return big.length() + " " + big.charAt(0) + big.charAt(27) + big.charAt(big.length() - 1);
    });
    run("bytes", () -> {
      byte[] data = new byte[1 << 20];
      for (int i = 0; i < data.length; i++) data[i] = (byte) i;
      return Arrays.equals(data, service.bytes(data));
    });
    run("oneway", () -> {
      int before = service.told();
      BoltService oneway = reference(BoltService.class, "oneway", 5000).refer();
      for (int i = 0; i < 5; i++) oneway.tell("x");
      for (int i = 0; i < 50 && service.told() < before + 5; i++) Thread.sleep(20);
      return service.told() - before;
    });
    run("future", () -> future(s -> s.hello("future")));
    run("futurefail", () -> future(s -> s.fail("not today")));
    run("callback", () -> callback(s -> s.hello("callback")));
    run("callbackfail", () -> callback(s -> s.fail("not today")));
    run("uniqueid", () -> reference(BoltService.class, "sync", 5000).setUniqueId("u1").refer().hello("x"));
    run("missing", () -> reference(Missing.class, "sync", 5000).refer().hello("x"));
    run("nouniqueid", () -> reference(BoltService.class, "sync", 5000).setUniqueId("u2").refer().hello("x"));
    run("timeout", () -> reference(BoltService.class, "sync", 300).refer().slow(1000));
    run("slow", () -> service.slow(1500));
    run("proxytimeout", () -> service.slow(2500));
    run("idle", () -> { Thread.sleep(1000); return service.hello("again"); });
    run("idlelong", () -> { service.hello("x"); Thread.sleep(5000); return service.hello("again"); });
    run("again", () -> again(service));
    run("port", () -> service.port());
    run("many", () -> many(service, 50, 20));
    System.exit(0);
  }
}
