package demo;

import java.util.Collections;
import java.util.concurrent.atomic.AtomicInteger;

public class EchoService implements Echo {
  final AtomicInteger notes = new AtomicInteger();

  public String echo(String text) {
    return text;
  }

  public String breaks(String text) {
    throw new IllegalStateException("broken inside");
  }

  public String slow(String ms) {
    try {
      Thread.sleep(Integer.parseInt(ms));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return "slept";
  }

  public String big(String size) {
    return String.join("", Collections.nCopies(Integer.parseInt(size), "v"));
  }

  public void note(String text) {
    notes.incrementAndGet();
  }

  public String noted(String text) {
    return String.valueOf(notes.get());
  }
}
