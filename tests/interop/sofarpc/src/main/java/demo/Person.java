package demo;

import java.io.Serializable;
import java.util.Date;
import java.util.List;
import java.util.Map;

/** What travels in the interop tests. */
public class Person implements Serializable {
  private static final long serialVersionUID = 1;
  public String name;
  public int age;
  public Date born;
  public Person friend;
  public List<Person> friends;
  public Map<String, Object> extra;
}
