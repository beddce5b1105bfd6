package demo;

import com.google.protobuf.StringValue;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.MethodConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.RpcException;
import org.apache.dubbo.rpc.service.EchoService;
import org.apache.dubbo.rpc.service.GenericService;

/**
 * Calls Echo and prints one line of JSON a case: "port", "case", then "value" or "raised".
 * Arguments: PORT and the cases to run there in this order, then perhaps another PORT and its cases.
 * PORT,PORT: two providers of one service. "fastjson2:hello" is the case hello by that serialization; "&hang" runs beside the others.
 */
public final class Consumer {
  private static final ApplicationConfig APP = new ApplicationConfig("interop-consumer");
  private static final CountDownLatch ENDED = new CountDownLatch(1);

  interface Case {
    Object run(Echo echo) throws Exception;
  }

  private final Map<String, Case> cases = new HashMap<>();
  private final Map<String, Echo> echoes = new HashMap<>();
  private final int port;
  private final String other; // port of another provider, or nothing

  private Consumer(String... ports) {
    this.port = Integer.parseInt(ports[0]);
    this.other = ports.length > 1 ? ports[1] : "";
    addValues();
    addCalls();
    addLongOnes();
  }

  private static String described(Throwable e) {
    String code = e instanceof RpcException ? "#" + ((RpcException) e).getCode() : "";
    Throwable cause = e.getCause();
    return e.getClass().getName() + code + ": " + e.getMessage()
        + (cause == null || cause == e ? "" : " <- " + described(cause));
  }

  private void run(String name) {
    String[] parts = name.split(":");
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("port", port);
    line.put("case", name);
    try {
      Echo echo;
      synchronized (echoes) {
        echo = echoes.computeIfAbsent(parts.length > 1 ? parts[0] : "", this::echo);
      }
      line.put("value", cases.get(parts[parts.length - 1]).run(echo));
    } catch (Throwable e) {
      line.put("raised", described(e));
    }
    synchronized (System.out) {
      System.out.println(Json.of(line));
      System.out.flush();
    }
  }

  private <T> ReferenceConfig<T> reference(Class<T> type, int timeout, String... more) {
    ReferenceConfig<T> r = new ReferenceConfig<>();
    r.setApplication(APP);
    r.setRegistry(new RegistryConfig("N/A"));
    r.setInterface(type);
    StringBuilder url = new StringBuilder("dubbo://127.0.0.1:" + port + "/demo.Echo?check=false&timeout=" + timeout);
    for (String one : more) {
      url.append('&').append(one);
      if (one.startsWith("group=")) r.setGroup(one.substring(6));
      if (one.startsWith("version=")) r.setVersion(one.substring(8));
    }
    r.setUrl(other.isEmpty() ? url.toString() : url + ";" + url.toString().replace(":" + port, ":" + other));
    r.setTimeout(timeout);
    r.setRetries(0);
    r.setCheck(false);
    return r;
  }

  private Echo echo(String serialization) {
    String[] more = serialization.isEmpty() ? new String[0]
        : new String[] {"serialization=" + serialization, "prefer.serialization=" + serialization};
    ReferenceConfig<Echo> config = reference(Echo.class, 10000, more);
    MethodConfig tell = new MethodConfig();
    tell.setName("tell");
    tell.setReturn(false);
    config.setMethods(new ArrayList<>(Arrays.asList(tell)));
    return config.get();
  }

  /** Silent for longer than it takes to give a connection up. */
  private String idle(String... more) throws Exception {
    List<String> options = new ArrayList<>(Arrays.asList("connections=1", "heartbeat=300"));
    options.addAll(Arrays.asList(more));
    Echo echo = reference(Echo.class, 5000, options.toArray(new String[0])).get();
    echo.hello("x");
    Thread.sleep(3000);
    return echo.hello("again");
  }

  private GenericService generic() {
    ReferenceConfig<GenericService> r = reference(GenericService.class, 5000);
    r.setInterface("demo.Echo");
    r.setGeneric("true");
    return r.get();
  }

  private static Types.Person person() {
    Types.Person p = new Types.Person();
    p.name = "Ada \ud83d\ude80";
    p.age = 36;
    p.color = Types.Color.GREEN;
    p.born = new Date(1234567890123L);
    p.balance = new BigDecimal("1234567890.123456789");
    p.self = p;
    Types.Person friend = new Types.Person();
    friend.name = "Grace";
    friend.friends = new ArrayList<>(Arrays.asList(p));
    p.friends = new ArrayList<>(Arrays.asList(friend, p));
    p.extra = new HashMap<>();
    p.extra.put("list", new ArrayList<>(Arrays.asList(1, 2L, 3.5, "x", null)));
    return p;
  }

  private static String repeat(String s, int n) {
    return String.join("", Collections.nCopies(n, s));
  }

  private static List<Object> classes(Iterable<?> values) {
    List<Object> out = new ArrayList<>();
    for (Object value : values) {
      Object shown = value instanceof int[] ? Arrays.toString((int[]) value)
          : value instanceof Date ? ((Date) value).getTime() : value;
      out.add(value == null ? null : value.getClass().getName() + " " + shown);
    }
    return out;
  }

  private static boolean sent(Echo echo, int size) {
    byte[] data = new byte[size];
    for (int i = 0; i < size; i++) data[i] = (byte) (i * 31 + (i >> 8));
    return Arrays.equals(data, echo.bytes(data));
  }

  private static boolean said(Echo echo, String big) {
    return echo.hello(big).equals("hello " + big);
  }

  private void addValues() {
    cases.put("hello", echo -> echo.hello("Z\u00fcrich \ud83d\ude80"));
    cases.put("surrogate", echo -> echo.hello((char) 0xdc00 + "x" + (char) 0xd83d));
    cases.put("add", echo -> echo.add(2, 40));
    cases.put("primitives", echo -> Arrays.asList(
        echo.primitives(true, Byte.MIN_VALUE, Short.MAX_VALUE, '\u20ac', Integer.MIN_VALUE, Long.MAX_VALUE, 1.5f, -0.1),
        echo.not(true), echo.next('a'), echo.negate(Long.MAX_VALUE), echo.half(0.1),
        Arrays.toString(echo.reversed(new int[] {1, -200, 1 << 30}))));
    cases.put("enum", echo -> echo.opposite(Types.Color.RED).name());
    cases.put("person", echo -> {
      Types.Person p = echo.person(person());
      boolean whole = p.self == p && p.friends.get(1) == p && p.friends.get(0).friends.get(0) == p;
      return Arrays.asList(p.name, p.age, p.color, p.born.getTime(), p.balance.toString(), whole, p.extra);
    });
    cases.put("list", echo -> {
      List<Object> nested = new ArrayList<>(Arrays.asList("a", 1, new ArrayList<>(Arrays.asList(true, 2.5))));
      nested.add(nested);
      List<Object> back = echo.list(nested);
      return Arrays.asList(back.subList(0, 3), back.get(3) == back);
    });
    cases.put("map", echo -> {
      Map<String, Object> m = new HashMap<>();
      m.put("k", new ArrayList<>(Arrays.asList(1L << 40)));
      m.put("self", m);
      Map<String, Object> back = echo.map(m);
      return Arrays.asList(back.size(), back.get("k"), back.get("self") == back);
    });
    cases.put("kinds", echo -> classes(echo.list(new ArrayList<>(Arrays.asList(
        1, 1L << 40, 1.5, true, "x", null, new BigDecimal("1.10"), new BigInteger("123456789012345678901"),
        new Date(1234567890123L), new int[] {1, 2}, new TreeSet<>(Arrays.asList("b", "a")))))));
    cases.put("bigstring", echo -> said(echo, repeat("0123456789\u20ac", 10000)));
    cases.put("bigemoji", echo -> said(echo, "x" + repeat("\ud83d\ude80", 40000)));
    cases.put("megabyte", echo -> sent(echo, 1 << 20));
    cases.put("seven", echo -> sent(echo, 7 << 20));
    cases.put("sevenstring", echo -> said(echo, repeat("0123456789abcdef", 7 << 16)));
    cases.put("wrapped", echo -> echo.wrapped(StringValue.of("Z\u00fcrich \ud83d\ude80")).getValue());
    cases.put("nothing", echo -> { echo.nothing(); return "done"; });
    cases.put("nul", echo -> echo.nul());
    cases.put("fail", echo -> echo.fail("not today"));
    cases.put("failunchecked", echo -> echo.failUnchecked("not today"));
  }

  private void addCalls() {
    cases.put("tell", echo -> {
      String what = "told by " + UUID.randomUUID();
      for (int i = 0; i < 5; i++) echo.tell(what);
      for (int i = 0; i < 100 && echo.told(what) < 5; i++) Thread.sleep(20);
      Thread.sleep(20);
      return echo.told(what);
    });
    cases.put("later", echo -> Later.call(echo, "x").get(5, TimeUnit.SECONDS));
    cases.put("attachments", echo -> {
      RpcContext.getContext().setAttachment("traceid", "t-42");
      String seen = echo.attachment("traceid");
      return Arrays.asList(seen, RpcContext.getServerContext().getAttachment("back"));
    });
    cases.put("budget", echo -> {
      String sent = echo.sent("timeout");
      return sent == null ? null : Integer.valueOf(sent);
    });
    // Four calls that one of two providers is slow at: who answered, and how many each of them had.
    cases.put("twice", echo -> {
      String what = "twice by " + UUID.randomUUID();
      int slow = echo.port();
      Set<Integer> answered = new TreeSet<>();
      for (int i = 0; i < 4; i++) answered.add(echo.slowAt(slow, what));
      Set<String> heard = new TreeSet<>();
      for (int i = 0; i < 10; i++) heard.add(echo.heard(what));
      return Arrays.asList(slow, answered, heard);
    });
    cases.put("group", echo -> reference(Echo.class, 5000, "group=g", "version=2.0.0").get().hello("x"));
    cases.put("nogroup", echo -> reference(Echo.class, 5000, "group=absent").get().hello("x"));
    cases.put("generic", echo ->
        generic().$invoke("hello", new String[] {"java.lang.String"}, new Object[] {"generic"}));
    cases.put("genericperson", echo -> {
      Map<String, Object> p = new HashMap<>();
      p.put("name", "Ada");
      p.put("age", 36);
      p.put("color", "GREEN");
      Map<?, ?> back = (Map<?, ?>) generic().$invoke("person", new String[] {"demo.Types$Person"}, new Object[] {p});
      return Arrays.asList(back.get("name"), back.get("age"), back.get("color"));
    });
    cases.put("genericfail", echo -> {
      try {
        return generic().$invoke("fail", new String[] {"java.lang.String"}, new Object[] {"not today"});
      } catch (RuntimeException e) { // 2.7 raises the one of the packages' former name
        return Arrays.asList(e.getClass().getSimpleName(), e.getMessage().split("\n")[0]);
      }
    });
    cases.put("genericslow", echo ->
        generic().$invoke("slow", new String[] {"int"}, new Object[] {2500}));
    cases.put("genericasync", echo -> Later.invoke(generic(), "hello", "java.lang.String", "async"));
    cases.put("subscribe", echo -> {
      ReferenceConfig<Echo> r = reference(Echo.class, 5000, "subscribe.0.callback=true");
      r.setMethods(new ArrayList<>(Arrays.asList(Callbacks.subscribe())));
      return r.get().subscribe(news -> news + " by " + port);
    });
    cases.put("idle", echo -> idle());
    cases.put("idlefastjson2", echo -> idle("serialization=fastjson2", "prefer.serialization=fastjson2"));
    cases.put("$echo", echo -> ((EchoService) echo).$echo("alive"));
    cases.put("timeout", echo -> reference(Echo.class, 300).get().slow(1500));
    cases.put("proxytimeout", echo -> echo.slow(2500));
    cases.put("noservice", echo -> {
      ReferenceConfig<Echo> r = reference(Echo.class, 3000);
      r.setUrl(r.getUrl().replace("demo.Echo", "demo.Missing"));
      return r.get().hello("x");
    });
    cases.put("port", echo -> echo.port());
    cases.put("many", echo -> {
      List<Future<String>> all = new ArrayList<>();
      for (int i = 0; i < 40; i++) all.add(Later.call(echo, "n" + i));
      int good = 0;
      for (int i = 0; i < 40; i++) if (all.get(i).get(5, TimeUnit.SECONDS).equals("later n" + i)) good++;
      return good;
    });
  }

  /** Cases that a test does something to while they run. */
  private void addLongOnes() {
    cases.put("hang", echo -> reference(Echo.class, 28000).get().hang(25000));
    // The provider is killed during "hang"; this one sees it go and come back.
    cases.put("again", echo -> {
      String answer = null;
      for (boolean gone = false; !gone || answer == null; Thread.sleep(50)) {
        try {
          answer = echo.hello("again");
        } catch (RpcException e) {
          gone = true;
          answer = null;
        }
      }
      return answer;
    });
    // Calls until standard input ends; whose answers came. Tells of each as soon as it is heard.
    cases.put("steady", echo -> {
      Set<Integer> seen = new TreeSet<>();
      while (!ENDED.await(5, TimeUnit.MILLISECONDS)) {
        int port = echo.port();
        if (seen.add(port)) System.out.println("heard " + port);
      }
      return seen;
    });
    // 25 references with a connection each; three calls at once on every one, ten times.
    cases.put("crowd", echo -> {
      List<Echo> crowd = new ArrayList<>();
      for (int i = 0; i < 25; i++) crowd.add(reference(Echo.class, 10000, "connections=1", "member=" + i).get());
      int good = 0;
      for (int round = 0; round < 10; round++) {
        Map<String, Future<String>> all = new HashMap<>();
        for (int i = 0; i < 75; i++) {
          String name = round + " " + i;
          all.put(name, Later.call(crowd.get(i % 25), name));
        }
        for (Map.Entry<String, Future<String>> one : all.entrySet()) {
          if (one.getValue().get(10, TimeUnit.SECONDS).equals("later " + one.getKey())) good++;
        }
      }
      return good;
    });
    // Stopped before the answers come.
    cases.put("flood", echo -> {
      List<Future<byte[]>> all = new ArrayList<>();
      for (int i = 0; i < 12; i++) all.add(RpcContext.getContext().asyncCall(() -> echo.produce(1500, 1 << 20)));
      int good = 0;
      for (Future<byte[]> one : all) if (one.get(20, TimeUnit.SECONDS).length == 1 << 20) good++;
      return good;
    });
    // How many of 200 calls were answered within a second.
    cases.put("fast", echo -> {
      int good = 0;
      for (int i = 0; i < 200; i++) {
        long begin = System.nanoTime();
        if (echo.hello("n" + i).equals("hello n" + i) && System.nanoTime() - begin < 1_000_000_000L) good++;
      }
      return good;
    });
  }

  public static void main(String[] args) throws Exception {
    Loopback.only();
    APP.setQosEnable(false);
    List<Thread> beside = new ArrayList<>();
    Consumer consumer = null;
    for (String word : args) {
      if (word.matches("[0-9,]+")) {
        consumer = new Consumer(word.split(","));
      } else if (word.startsWith("&")) {
        Consumer at = consumer;
        beside.add(new Thread(() -> at.run(word.substring(1))));
        beside.get(beside.size() - 1).start();
      } else {
        consumer.run(word);
      }
    }
    while (System.in.read() >= 0) continue;
    ENDED.countDown();
    for (Thread one : beside) one.join();
    System.exit(0);
  }
}
