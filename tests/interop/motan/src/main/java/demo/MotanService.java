package demo;

/** What the Motan peers offer each other. */
public interface MotanService {
  String hello(String name);
  long add(int a, long b);
  byte[] bytes(byte[] data);
  String big(int length);
  String nul();
  void nothing();
  String slow(int ms);
  String fail(String why) throws Refused;
  String crash(String why);
  String attachment(String key);
}
