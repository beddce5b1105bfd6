package demo;

/** The service of the interop tests. */
public interface BoltService {
  String hello(String name);

  long add(int a, long b);

  /** The same person, a year older. */
  Person person(Person p);

  /** Throws Refused, a checked exception, with a cause. */
  String fail(String why) throws Refused;

  /** Throws an IllegalStateException with a cause. */
  String crash(String why);

  String slow(int ms);

  String big(int length);

  byte[] bytes(byte[] data);

  void nothing();

  String nul();

  /** Counts one-way calls; {@code told} says how many came. */
  void tell(String what);

  int told();

  int port();
}
