package demo;

import java.util.ArrayList;
import java.util.Arrays;
import org.apache.dubbo.config.ArgumentConfig;
import org.apache.dubbo.config.MethodConfig;

/** What both sides have to know of an argument that is called back. */
final class Callbacks {
  private Callbacks() {}

  static MethodConfig subscribe() {
    ArgumentConfig listener = new ArgumentConfig();
    listener.setIndex(0);
    listener.setCallback(true);
    MethodConfig subscribe = new MethodConfig();
    subscribe.setName("subscribe");
    subscribe.setArguments(new ArrayList<>(Arrays.asList(listener)));
    return subscribe;
  }
}
