package demo;

import com.alibaba.dubbo.rpc.RpcContext;
import com.alibaba.dubbo.rpc.service.GenericService;
import java.util.concurrent.Future;

/** A method that answers later: 2.6 knows it on the consumer's side only. */
public interface Later {
  String later(String name);

  class Impl implements Later {
    public String later(String name) { return "later " + name; }
  }

  static Future<String> call(Later echo, String name) {
    return RpcContext.getContext().asyncCall(() -> echo.later(name));
  }

  /** There is no $invokeAsync yet. */
  static Object invoke(GenericService service, String method, String type, Object value) {
    throw new UnsupportedOperationException("$invokeAsync");
  }
}
