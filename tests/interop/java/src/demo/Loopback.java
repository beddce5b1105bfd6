package demo;

import java.lang.reflect.Field;
import java.net.InetAddress;
import org.apache.dubbo.common.utils.NetUtils;

/** Dubbo takes 127.0.0.1 for a mistake and dials the address of a network card: here it must not. */
final class Loopback {
  private Loopback() {}

  static void only() throws Exception {
    set("HOST_ADDRESS", "127.0.0.1");
    set("LOCAL_ADDRESS", InetAddress.getByName("127.0.0.1"));
  }

  private static void set(String name, Object value) throws Exception {
    Field field;
    try {
      field = NetUtils.class.getDeclaredField(name);
    } catch (NoSuchFieldException e) {
      return; // 2.6 has one of the two
    }
    field.setAccessible(true);
    field.set(null, value);
  }
}
