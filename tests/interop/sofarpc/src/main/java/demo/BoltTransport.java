package demo;

import com.alipay.remoting.InvokeContext;
import com.alipay.remoting.Url;
import com.alipay.sofa.rpc.client.ProviderInfo;
import com.alipay.sofa.rpc.core.request.SofaRequest;
import com.alipay.sofa.rpc.ext.Extension;
import com.alipay.sofa.rpc.transport.ClientTransportConfig;
import com.alipay.sofa.rpc.transport.bolt.BoltClientTransport;

/**
 * The library's transport with another version of bolt, by the system property "wire":
 * v1, v2 (ver1 = 1), crc (ver1 = 2) or nocrc (ver1 = 2, switch off). Without it: what the library does.
 */
@Extension(value = "bolt", override = true, order = 1)
public class BoltTransport extends BoltClientTransport {
  private static final String WIRE = System.getProperty("wire", "");

  protected BoltTransport(ClientTransportConfig config) {
    super(config);
  }

  @Override
  protected Url convertProviderToUrl(ClientTransportConfig config, ProviderInfo provider) {
    Url url = super.convertProviderToUrl(config, provider);
    if (!WIRE.isEmpty()) {
      url.setProtocol((byte) (WIRE.equals("v1") ? 1 : 2));
      url.setVersion((byte) (WIRE.endsWith("crc") ? 2 : 1));
    }
    return url;
  }

  @Override
  protected InvokeContext createInvokeContext(SofaRequest request) {
    InvokeContext context = super.createInvokeContext(request);
    if (WIRE.equals("nocrc")) context.put(InvokeContext.BOLT_CRC_SWITCH, false);
    return context;
  }
}
