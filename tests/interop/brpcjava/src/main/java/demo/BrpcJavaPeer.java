package demo;

import com.baidu.brpc.RpcContext;
import com.baidu.brpc.client.BrpcProxy;
import com.baidu.brpc.client.RpcClient;
import com.baidu.brpc.client.RpcClientOptions;
import com.baidu.brpc.client.instance.Endpoint;
import com.baidu.brpc.exceptions.RpcException;
import com.baidu.brpc.protocol.BrpcMeta;
import com.baidu.brpc.protocol.Options;
import com.baidu.brpc.server.RpcServer;
import com.baidu.brpc.server.RpcServerOptions;
import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;

/** A server or a client of brpc-java, baidu_std: server PORT, client PORT CASE... */
public class BrpcJavaPeer {
  /** Field 1 is a text. */
  static FileDescriptorProto text(String text) {
    return FileDescriptorProto.newBuilder().setName(text).build();
  }

  public interface Echo {
    @BrpcMeta(serviceName = "Echo", methodName = "echo")
    FileDescriptorProto echo(FileDescriptorProto text);

    @BrpcMeta(serviceName = "Echo", methodName = "breaks")
    FileDescriptorProto breaks(FileDescriptorProto text);

    @BrpcMeta(serviceName = "Echo", methodName = "slow")
    FileDescriptorProto slow(FileDescriptorProto ms);

    @BrpcMeta(serviceName = "Echo", methodName = "big")
    FileDescriptorProto big(FileDescriptorProto size);

    @BrpcMeta(serviceName = "Echo", methodName = "attach")
    FileDescriptorProto attach(FileDescriptorProto text);
  }

  public interface Missing {
    @BrpcMeta(serviceName = "Missing", methodName = "gone")
    FileDescriptorProto gone(FileDescriptorProto text);
  }

  public static class Service implements Echo {
    public FileDescriptorProto echo(FileDescriptorProto text) {
      return text;
    }

    public FileDescriptorProto breaks(FileDescriptorProto text) {
      throw new IllegalStateException("broken inside");
    }

    public FileDescriptorProto slow(FileDescriptorProto ms) {
      try {
        Thread.sleep(Integer.parseInt(ms.getName()));
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
      return text("slept");
    }

    public FileDescriptorProto big(FileDescriptorProto size) {
      return text(times(Integer.parseInt(size.getName())));
    }

    public FileDescriptorProto attach(FileDescriptorProto text) {
      RpcContext context = RpcContext.getContext();
      String found = read(context.getRequestBinaryAttachment());
      context.setResponseBinaryAttachment(Unpooled.wrappedBuffer(("back: " + found).getBytes()));
      return text(text.getName() + " with " + found);
    }
  }

  static String times(int size) {
    return String.join("", Collections.nCopies(size, "v"));
  }

  static String read(ByteBuf data) {
    return data == null ? "nothing" : data.toString(StandardCharsets.UTF_8);
  }

  static void serve(int port) throws Exception {
    RpcServerOptions options = new RpcServerOptions();
    options.setProtocolType(Options.ProtocolType.PROTOCOL_BAIDU_STD_VALUE);
    options.setWorkThreadNum(32);
    RpcServer server = new RpcServer("127.0.0.1", port, options);
    server.registerService(new Service());
    server.start();
    System.out.println("READY " + port);
    synchronized (server) {
      server.wait();
    }
  }

  static RpcClient client(int port, Options.CompressType compress) {
    RpcClientOptions options = new RpcClientOptions();
    options.setProtocolType(Options.ProtocolType.PROTOCOL_BAIDU_STD_VALUE);
    options.setReadTimeoutMillis(20000);
    options.setWriteTimeoutMillis(20000);
    options.setConnectTimeoutMillis(10000);
    options.setMaxTryTimes(1);
    options.setCompressType(compress);
    return new RpcClient(new Endpoint("127.0.0.1", port), options);
  }

  static Echo echo(int port, Options.CompressType compress) {
    return BrpcProxy.getProxy(client(port, compress), Echo.class);
  }

  static Echo echo(int port) {
    return echo(port, Options.CompressType.COMPRESS_TYPE_NONE);
  }

  static FileDescriptorProto gone(int port) {
    Missing missing = BrpcProxy.getProxy(client(port, Options.CompressType.COMPRESS_TYPE_NONE), Missing.class);
    return missing.gone(text(""));
  }

  static Object attached(Echo echo) {
    RpcContext context = RpcContext.getContext();
    context.reset();
    context.setRequestBinaryAttachment("a file".getBytes());
    String answer = echo.attach(text("a text")).getName();
    return answer + ", " + read(RpcContext.getContext().getResponseBinaryAttachment());
  }

  static Cases.Echo echoes(Echo echo) {
    return text -> echo.echo(text(text)).getName();
  }

  static String after(Echo echo, Runnable call) {
    try {
      call.run();
    } catch (Exception e) {
      return "an error, then " + echo.echo(text("still here")).getName();
    }
    return "no error";
  }

  static Object call(Echo echo, int port, String name) throws Exception {
    switch (name) {
      case "hello": return echo.echo(text("Zürich 🚀")).getName();
      case "undeclared": return echo.breaks(text("x")).getName();
      case "missing": return gone(port).getName();
      case "slow": return echo.slow(text("2000")).getName();
      case "big": return echo.big(text("" + (1 << 20))).getName().length();
      case "sent": return echo.echo(text(times(1 << 20))).getName().length();
      case "attachment": return attached(echo);
      case "gzip": return echo(port, Options.CompressType.COMPRESS_TYPE_GZIP).echo(text("small")).getName();
      case "snappy": return echo(port, Options.CompressType.COMPRESS_TYPE_SNAPPY).echo(text("small")).getName();
      case "zlib": return echo(port, Options.CompressType.COMPRESS_TYPE_ZLIB).echo(text("small")).getName();
      case "many": return Cases.many(() -> echoes(echo(port)));
      case "after-undeclared": return after(echo, () -> echo.breaks(text("x")));
      case "after-slow": return after(echo, () -> echo.slow(text("2000")));
      default: throw new IllegalArgumentException(name);
    }
  }

  static String raised(Throwable e) {
    int code = e instanceof RpcException ? ((RpcException) e).getCode() : 0;
    return "[" + code + ", " + Cases.quoted(e.getMessage()) + "]";
  }

  public static void main(String[] args) throws Exception {
    int port = Integer.parseInt(args[1]);
    if (args[0].equals("server")) {
      serve(port);
      return;
    }
    Echo echo = echo(port);
    for (String name : Arrays.asList(args).subList(2, args.length))
      Cases.run(System.out, name, () -> call(echo, port, name), BrpcJavaPeer::raised);
    System.exit(0);
  }
}
