package demo;

import java.io.PrintStream;
import java.util.concurrent.atomic.AtomicInteger;

/** The cases that a peer runs: a line of JSON each, in ASCII: "case", then "value" or "raised". */
public final class Cases {
  private Cases() {}

  public interface Case {
    Object run() throws Exception;
  }

  /** What JSON has of what a case threw. */
  public interface Raised {
    String of(Throwable e);
  }

  public interface Echo {
    String echo(String text) throws Exception;
  }

  public interface Clients {
    Echo connect() throws Exception;
  }

  public static String quoted(Object value) {
    if (value == null || value instanceof Number) return String.valueOf(value);
    StringBuilder out = new StringBuilder("\"");
    for (char c : value.toString().toCharArray()) {
      if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') out.append(String.format("\\u%04x", (int) c));
      else out.append(c);
    }
    return out.append('"').toString();
  }

  public static void run(PrintStream out, String name, Case body, Raised raised) {
    String outcome;
    try {
      outcome = "\"value\": " + quoted(body.run());
    } catch (Throwable e) {
      outcome = "\"raised\": " + raised.of(e);
    }
    out.println("{\"case\": " + quoted(name) + ", " + outcome + "}");
    out.flush();
  }

  /** Of eight clients at once with 125 calls each: how many calls had their own text back. */
  public static Object many(Clients clients) throws Exception {
    AtomicInteger right = new AtomicInteger();
    Thread[] threads = new Thread[8];
    for (int i = 0; i < 8; i++) {
      int who = i;
      Echo client = clients.connect();
      threads[i] =
          new Thread(
              () -> {
                try {
                  for (int n = 0; n < 125; n++)
                    if (client.echo(who + "-" + n).equals(who + "-" + n)) right.incrementAndGet();
                } catch (Exception e) {
                  System.err.println(e);
                }
              });
      threads[i].start();
    }
    for (Thread thread : threads) thread.join();
    return right.get();
  }

  /** An error by its class, its code and what caused it. */
  public static String described(Throwable e, String code) {
    Throwable cause = e.getCause();
    return e.getClass().getName() + code + ": " + e.getMessage()
        + (cause == null ? "" : " <- " + cause.getClass().getName() + ": " + cause.getMessage());
  }
}
