package demo;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.dubbo.rpc.service.GenericService;

/** A method that answers later: a CompletableFuture on both sides. */
public interface Later {
  CompletableFuture<String> later(String name);

  class Impl implements Later {
    public CompletableFuture<String> later(String name) {
      return CompletableFuture.supplyAsync(() -> "later " + name);
    }
  }

  static Future<String> call(Later echo, String name) { return echo.later(name); }

  /** By $invokeAsync. */
  static Object invoke(GenericService service, String method, String type, Object value) throws Exception {
    return service.$invokeAsync(method, new String[] {type}, new Object[] {value}).get(5, TimeUnit.SECONDS);
  }
}
