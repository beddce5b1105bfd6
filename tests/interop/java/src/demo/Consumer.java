package demo;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Callable;
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
 * Calls Echo at 127.0.0.1:PORT and prints one line a case: name, "value" or "raised", what.
 * Arguments: PORT, then the cases to run (none: all).
 */
public final class Consumer {
  private Consumer() {}

  private static final ApplicationConfig APP = new ApplicationConfig("interop-consumer");
  private static int port;
  private static List<String> wanted;

  private static String escape(Object value) {
    StringBuilder out = new StringBuilder();
    for (char c : String.valueOf(value).toCharArray()) {
      if (c < 32 || c > 126 || c == '\\') {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    return out.toString();
  }

  private static void run(String name, Callable<Object> body) {
    if (!wanted.isEmpty() && !wanted.contains(name)) return;
    String line;
    try {
      line = name + "\tvalue\t" + escape(body.call());
    } catch (Throwable e) {
      String code = e instanceof RpcException ? "#" + ((RpcException) e).getCode() : "";
      Throwable cause = e.getCause();
      line = name + "\traised\t" + e.getClass().getName() + code + ": " + escape(e.getMessage())
          + (cause == null ? "" : " <- " + cause.getClass().getName() + ": " + escape(cause.getMessage()));
    }
    System.out.println(line);
    System.out.flush();
  }

  private static <T> ReferenceConfig<T> reference(Class<T> type, String path, String group, String version, int timeout) {
    ReferenceConfig<T> r = new ReferenceConfig<>();
    r.setApplication(APP);
    r.setRegistry(new RegistryConfig("N/A"));
    r.setInterface(type);
    String query = "?timeout=" + timeout + "&check=false" + (group == null ? "" : "&group=" + group)
        + (version == null ? "" : "&version=" + version);
    r.setUrl("dubbo://127.0.0.1:" + port + "/" + path + query);
    if (group != null) r.setGroup(group);
    if (version != null) r.setVersion(version);
    r.setTimeout(timeout);
    r.setRetries(0);
    r.setCheck(false);
    return r;
  }

  private static Types.Person person() {
    Types.Person p = new Types.Person();
    p.name = "Ada \ud83d\ude80 " + (char) 0xd800;
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
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < n; i++) out.append(s);
    return out.toString();
  }

  @SuppressWarnings("deprecation")
  public static void main(String[] args) throws Exception {
    Loopback.only();
    port = Integer.parseInt(args[0]);
    wanted = Arrays.asList(args).subList(1, args.length);
    APP.setQosEnable(false);
    ReferenceConfig<Echo> config = reference(Echo.class, "demo.Echo", null, null, 5000);
    MethodConfig tell = new MethodConfig();
    tell.setName("tell");
    tell.setReturn(false);
    config.setMethods(new ArrayList<>(Arrays.asList(tell)));
    Echo echo = config.get();
    run("hello", () -> echo.hello("Z\u00fcrich \ud83d\ude80"));
    run("surrogate", () -> echo.hello("" + (char) 0xdc00 + "x"));
    run("add", () -> echo.add(2, 40));
    run("person", () -> {
      Types.Person p = echo.person(person());
      boolean whole = p.self == p && p.friends.get(1) == p && p.friends.get(0).friends.get(0) == p;
      return p.name.equals(person().name) + " " + p.age + " " + p.color + " " + p.born.getTime() + " " + p.balance
          + " " + whole + " " + p.extra;
    });
    run("list", () -> {
      List<Object> nested = new ArrayList<>(Arrays.asList("a", 1, new ArrayList<>(Arrays.asList(true, 2.5))));
      nested.add(nested);
      List<Object> back = echo.list(nested);
      return back.subList(0, 3) + " " + (back.get(3) == back);
    });
    run("map", () -> {
      Map<String, Object> m = new HashMap<>();
      m.put("k", new ArrayList<>(Arrays.asList(1L << 40)));
      return echo.map(m);
    });
    run("bigstring", () -> {
      String big = repeat("0123456789\u20ac", 10000);
      return echo.hello(big).equals("hello " + big);
    });
    run("megabyte", () -> {
      byte[] data = new byte[1 << 20];
      for (int i = 0; i < data.length; i++) data[i] = (byte) i;
      return Arrays.equals(data, echo.bytes(data));
    });
    run("seven", () -> echo.bytes(new byte[7 << 20]).length);
    run("nothing", () -> { echo.nothing(); return "done"; });
    run("nul", () -> echo.nul());
    run("fail", () -> echo.fail("not today"));
    run("tell", () -> {
      int before = echo.told();
      for (int i = 0; i < 5; i++) echo.tell("x");
      for (int i = 0; i < 50 && echo.told() < before + 5; i++) Thread.sleep(20);
      return echo.told() - before;
    });
    run("later", () -> echo.later("x").get(5, TimeUnit.SECONDS));
    run("attachments", () -> {
      RpcContext.getContext().setAttachment("traceid", "t-42");
      String seen = echo.attachment("traceid");
      return seen + " " + RpcContext.getServerContext().getAttachment("back");
    });
    run("group", () -> reference(Echo.class, "demo.Echo", "g", "2.0.0", 5000).get().hello("x"));
    run("generic", () -> {
      ReferenceConfig<GenericService> r = reference(GenericService.class, "demo.Echo", null, null, 5000);
      r.setInterface("demo.Echo");
      r.setGeneric("true");
      return r.get().$invoke("hello", new String[] {"java.lang.String"}, new Object[] {"generic"});
    });
    run("$echo", () -> ((EchoService) echo).$echo("alive"));
    run("timeout", () -> reference(Echo.class, "demo.Echo", null, null, 300).get().slow(1500));
    run("proxytimeout", () -> echo.slow(2500));
    run("noservice", () -> reference(Echo.class, "demo.Missing", null, null, 3000).get().hello("x"));
    run("port", () -> echo.port());
    run("slow", () -> echo.slow(1500));
    run("many", () -> {
      List<CompletableFuture<String>> all = new ArrayList<>();
      for (int i = 0; i < 150; i++) all.add(echo.later("n" + i));
      int good = 0;
      for (int i = 0; i < 150; i++) if (all.get(i).get(5, TimeUnit.SECONDS).equals("later n" + i)) good++;
      return good;
    });
    run("ports", () -> {
      StringBuilder out = new StringBuilder();
      long end = System.currentTimeMillis() + 6000;
      String last = "";
      int failures = 0;
      while (System.currentTimeMillis() < end) {
        try {
          last = String.valueOf(echo.port());
          if (out.indexOf(last) < 0) out.append(last).append(' ');
        } catch (RpcException e) {
          failures++;
        }
        Thread.sleep(5);
      }
      return "failures=" + failures + " seen=" + out.toString().trim() + " last=" + last;
    });
    System.exit(0);
  }
}
