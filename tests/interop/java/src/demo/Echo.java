package demo;

import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** The service of the interop tests. */
public interface Echo {
  String hello(String name);

  int add(int a, int b);

  Types.Person person(Types.Person p);

  List<Object> list(List<Object> values);

  Map<String, Object> map(Map<String, Object> values);

  byte[] bytes(byte[] data);

  void nothing();

  String nul();

  String fail(String why) throws Types.Refused;

  String slow(int ms);

  String attachment(String key);

  CompletableFuture<String> later(String name);

  /** Counts one-way calls; {@code told} says how many came. */
  void tell(String what);

  int told();

  int port();
}
