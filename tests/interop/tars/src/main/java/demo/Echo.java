package demo;

import com.qq.tars.protocol.annotation.Servant;

/** The service, as a server has it. */
@Servant
public interface Echo {
  String echo(String text);

  String breaks(String text);

  String slow(String ms);

  String big(String size);

  void note(String text);

  String noted(String text);
}
