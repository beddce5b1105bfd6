package demo;

import java.io.Serializable;
import java.math.BigDecimal;
import java.util.Date;
import java.util.List;
import java.util.Map;

/** What travels in the interop tests. */
public final class Types {
  private Types() {}

  public enum Color { RED, GREEN }

  public static class Person implements Serializable {
    private static final long serialVersionUID = 1;
    public String name;
    public int age;
    public Color color;
    public Date born;
    public BigDecimal balance;
    public List<Person> friends;
    public Map<String, Object> extra;
    public Person self;
  }

  public static class Refused extends Exception {
    private static final long serialVersionUID = 1;

    public Refused(String message, Throwable cause) {
      super(message, cause);
    }
  }
}
