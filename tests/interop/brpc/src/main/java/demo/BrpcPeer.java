package demo;

import com.baidu.bjf.remoting.protobuf.annotation.Protobuf;
import com.baidu.jprotobuf.pbrpc.ClientAttachmentHandler;
import com.baidu.jprotobuf.pbrpc.CompressType;
import com.baidu.jprotobuf.pbrpc.ErrorDataException;
import com.baidu.jprotobuf.pbrpc.ProtobufRPC;
import com.baidu.jprotobuf.pbrpc.ProtobufRPCService;
import com.baidu.jprotobuf.pbrpc.ServerAttachmentHandler;
import com.baidu.jprotobuf.pbrpc.client.ProtobufRpcProxy;
import com.baidu.jprotobuf.pbrpc.client.RpcMethodInfo;
import com.baidu.jprotobuf.pbrpc.data.RpcDataPackage;
import com.baidu.jprotobuf.pbrpc.data.RpcRequestMetaExtField;
import com.baidu.jprotobuf.pbrpc.intercept.InvokerInterceptor;
import com.baidu.jprotobuf.pbrpc.intercept.MethodInvocationInfo;
import com.baidu.jprotobuf.pbrpc.server.RpcServiceRegistry;
import com.baidu.jprotobuf.pbrpc.transport.ExceptionCatcher;
import com.baidu.jprotobuf.pbrpc.transport.RpcClient;
import com.baidu.jprotobuf.pbrpc.transport.RpcClientOptions;
import com.baidu.jprotobuf.pbrpc.transport.RpcErrorMessage;
import com.baidu.jprotobuf.pbrpc.transport.RpcServer;
import com.baidu.jprotobuf.pbrpc.transport.RpcServerOptions;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.Collections;
import java.util.TreeMap;
import java.util.logging.LogManager;

/** A server or a client of jprotobuf-rpc: server PORT, client PORT CASE...; -Dchunk=BYTES: requests in pieces. */
public class BrpcPeer {
  public static class Text {
    @Protobuf(order = 1)
    public String text;

    public Text() {}

    Text(String text) {
      this.text = text;
    }
  }

  /** What the service declares: its own code. */
  static class Declared extends RuntimeException {
    final int code;

    Declared(int code, String why) {
      super(why);
      this.code = code;
    }
  }

  static final ThreadLocal<String> attached = new ThreadLocal<>(), headers = new ThreadLocal<>();

  public static class Attached implements ServerAttachmentHandler {
    public byte[] handleAttachement(byte[] request, String service, String method, Object... arguments) {
      attached.set(request == null ? "nothing" : new String(request));
      return ("back: " + attached.get()).getBytes();
    }
  }

  static class Extensions implements InvokerInterceptor {
    public void beforeInvoke(MethodInvocationInfo call) {
      headers.set(new TreeMap<>(call.getExtFields()).toString());
    }

    public Object process(MethodInvocationInfo call) {
      return null;
    }

    public void afterProcess() {}
  }

  public static class Service {
    @ProtobufRPCService(serviceName = "Echo", methodName = "echo")
    public Text echo(Text text) {
      return text;
    }

    @ProtobufRPCService(serviceName = "Echo", methodName = "fails")
    public Text fails(Text why) {
      throw new Declared(5017, why.text);
    }

    @ProtobufRPCService(serviceName = "Echo", methodName = "breaks")
    public Text breaks(Text text) {
      throw new IllegalStateException("broken inside");
    }

    @ProtobufRPCService(serviceName = "Echo", methodName = "slow")
    public Text slow(Text ms) throws Exception {
      Thread.sleep(Integer.parseInt(ms.text));
      return new Text("slept");
    }

    @ProtobufRPCService(serviceName = "Echo", methodName = "big")
    public Text big(Text size) {
      return new Text(String.join("", Collections.nCopies(Integer.parseInt(size.text), "v")));
    }

    @ProtobufRPCService(serviceName = "Echo", methodName = "attach", attachmentHandler = Attached.class)
    public Text attach(Text text) {
      return new Text(text.text + " with " + attached.get());
    }

    @ProtobufRPCService(serviceName = "Echo", methodName = "headers")
    public Text headers(Text text) {
      return new Text(headers.get());
    }
  }

  static final ThreadLocal<String> answered = new ThreadLocal<>();

  public static class Attaches implements ClientAttachmentHandler {
    public byte[] handleRequest(String service, String method, Object... arguments) {
      return "a file".getBytes();
    }

    public void handleResponse(byte[] response, String service, String method, Object... arguments) {
      answered.set(new String(response));
    }
  }

  interface Echo {
    @ProtobufRPC(serviceName = "Echo", methodName = "echo")
    Text echo(Text text);

    @ProtobufRPC(serviceName = "Echo", methodName = "fails")
    Text fails(Text why);

    @ProtobufRPC(serviceName = "Echo", methodName = "breaks")
    Text breaks(Text text);

    @ProtobufRPC(serviceName = "Echo", methodName = "slow", onceTalkTimeout = 10000)
    Text slow(Text ms);

    @ProtobufRPC(serviceName = "Echo", methodName = "big", onceTalkTimeout = 10000)
    Text big(Text size);

    @ProtobufRPC(serviceName = "Echo", methodName = "attach", attachmentHandler = Attaches.class)
    Text attach(Text text);

    @ProtobufRPC(serviceName = "Echo", methodName = "headers")
    Text headers(Text text);

    @ProtobufRPC(serviceName = "Missing", methodName = "gone")
    Text gone(Text text);

    @ProtobufRPC(serviceName = "Missing", methodName = "nothing")
    Text gone();
  }

  interface Zipped {
    @ProtobufRPC(serviceName = "Echo", methodName = "echo", compressType = CompressType.GZIP)
    Text echo(Text text);
  }

  interface Snapped {
    @ProtobufRPC(serviceName = "Echo", methodName = "echo", compressType = CompressType.Snappy)
    Text echo(Text text);
  }

  static void serve(int port) throws Exception {
    RpcServerOptions options = new RpcServerOptions();
    options.setTaskTheads(32); // with none a slow call holds up all others of its connection
    ExceptionCatcher codes =
        e -> {
          Throwable why = e instanceof InvocationTargetException ? e.getCause() : e;
          return why instanceof Declared ? new RpcErrorMessage(((Declared) why).code, why.getMessage()) : null;
        };
    RpcServer server = new RpcServer(NioServerSocketChannel.class, options, new RpcServiceRegistry(), codes);
    server.setInterceptor(new Extensions());
    server.registerService(new Service());
    server.startSync(new InetSocketAddress("127.0.0.1", port));
    System.out.println("READY " + port);
    server.waitForStop();
  }

  final int port;
  final RpcClient client;

  BrpcPeer(int port) {
    this.port = port;
    RpcClientOptions options = new RpcClientOptions();
    options.setOnceTalkTimeout(20000);
    options.setConnectTimeout(10000);
    if (System.getProperty("chunk") != null) options.setChunkSize(Long.getLong("chunk"));
    client = new RpcClient(options);
  }

  <T> T of(Class<T> type) {
    ProtobufRpcProxy<T> proxy =
        new ProtobufRpcProxy<T>(client, type) {
          @Override
          protected RpcDataPackage buildRequestDataPackage(RpcMethodInfo method, Object[] arguments)
              throws IOException {
            RpcDataPackage out = super.buildRequestDataPackage(method, arguments);
            if (method.getMethodName().equals("headers"))
              out.getRpcMeta().getRequest().setExtFields(
                  Collections.singletonList(new RpcRequestMetaExtField("mine", "1")));
            return out;
          }
        };
    proxy.setHost("127.0.0.1");
    proxy.setPort(port);
    return proxy.proxy();
  }

  static Cases.Echo echoes(Echo echo) {
    return text -> echo.echo(new Text(text)).text;
  }

  interface Asks {
    void run(Echo echo);
  }

  String after(Echo echo, Asks call) {
    try {
      call.run(echo);
    } catch (Exception e) {
      return "an error, then " + echo.echo(new Text("still here")).text;
    }
    return "no error";
  }

  Object call(Echo echo, String name) throws Exception {
    switch (name) {
      case "hello": return echo.echo(new Text("Zürich 🚀")).text;
      case "declared": return echo.fails(new Text("not today")).text;
      case "undeclared": return echo.breaks(new Text("")).text;
      case "missing": return echo.gone(new Text("")).text;
      case "nothing-missing": return echo.gone().text;
      case "slow": return echo.slow(new Text("2000")).text;
      case "big": return echo.big(new Text("" + (1 << 20))).text.length();
      case "pieces": return echo.echo(new Text(String.join("", Collections.nCopies(2500, "v")))).text.length();
      case "sent": return echo.echo(new Text(String.join("", Collections.nCopies(1 << 20, "v")))).text.length();
      case "attachment": return echo.attach(new Text("a text")).text + ", " + answered.get();
      case "headers": return echo.headers(new Text("")).text;
      case "gzip": return of(Zipped.class).echo(new Text("small")).text;
      case "snappy": return of(Snapped.class).echo(new Text("small")).text;
      case "many": return Cases.many(() -> echoes(new BrpcPeer(port).of(Echo.class)));
      case "after-declared": return after(echo, e -> e.fails(new Text("not today")));
      case "after-undeclared": return after(echo, e -> e.breaks(new Text("")));
      case "after-missing": return after(echo, e -> e.gone(new Text("")));
      case "after-slow": return after(echo, e -> e.slow(new Text("2000")));
      case "after-headers": return after(echo, e -> e.headers(new Text("")));
      default: throw new IllegalArgumentException(name);
    }
  }

  static String raised(Throwable e) {
    Throwable why = e;
    while (!(why instanceof ErrorDataException) && why.getCause() != null) why = why.getCause();
    int code = why instanceof ErrorDataException ? ((ErrorDataException) why).getErrorCode() : 0;
    return "[" + code + ", " + Cases.quoted(why.getMessage()) + "]";
  }

  public static void main(String[] args) throws Exception {
    LogManager.getLogManager().reset();
    if (args[0].equals("server")) {
      serve(Integer.parseInt(args[1]));
      return;
    }
    BrpcPeer peer = new BrpcPeer(Integer.parseInt(args[1]));
    Echo echo = peer.of(Echo.class);
    for (String name : Arrays.asList(args).subList(2, args.length))
      Cases.run(System.out, name, () -> peer.call(echo, name), BrpcPeer::raised);
    System.exit(0);
  }
}
