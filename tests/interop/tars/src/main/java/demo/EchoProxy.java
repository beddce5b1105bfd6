package demo;

import com.qq.tars.protocol.annotation.Servant;
import com.qq.tars.protocol.tars.annotation.TarsCallback;
import com.qq.tars.protocol.tars.annotation.TarsContext;
import java.util.Map;

/** The service, as a client has it. */
@Servant
public interface EchoProxy {
  String echo(String text);

  String fails(String text);

  String breaks(String text);

  String slow(String ms);

  String big(String size);

  String noted(String text);

  String gone(String text);

  String headers(String text, @TarsContext Map<String, String> context);

  void async_note(@TarsCallback Object none, String text);
}
