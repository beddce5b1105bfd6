package demo;

import com.google.protobuf.StringValue;
import java.util.List;
import java.util.Map;

/** The service of the interop tests. */
public interface Echo extends Later {
  String hello(String name);

  int add(int a, int b);

  String primitives(boolean a, byte b, short c, char d, int e, long f, float g, double h);

  boolean not(boolean a);

  char next(char a);

  long negate(long a);

  double half(double a);

  int[] reversed(int[] values);

  Types.Color opposite(Types.Color color);

  Types.Person person(Types.Person p);

  List<Object> list(List<Object> values);

  Map<String, Object> map(Map<String, Object> values);

  byte[] bytes(byte[] data);

  StringValue wrapped(StringValue value);

  void nothing();

  String nul();

  String fail(String why) throws Types.Refused;

  /** Raises what its signature does not name. */
  String failUnchecked(String why);

  String slow(int ms);

  /** As slow, by a name that the proxy's rules do not limit. */
  String hang(int ms);

  /** Many bytes, after a while. */
  byte[] produce(int ms, int size);

  String attachment(String key);

  /** An attachment as it came with the call: {@code attachment} says what Dubbo shows of it. */
  String sent(String key);

  /** Counts one-way calls; {@code told} says how many came with that text. */
  void tell(String what);

  int told(String what);

  /** Counts as {@code tell} does, and takes its time at that port; says which port it was. */
  int slowAt(int port, String what);

  /** The port, and how many came there with that text. */
  String heard(String what);

  int port();

  /** Calls the listener, an object of the consumer's. */
  String subscribe(Listener listener);
}
