package demo;

import demo.gen.Declared;
import demo.gen.Echo;
import demo.gen.Missing;
import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.thrift.TApplicationException;
import org.apache.thrift.TException;
import org.apache.thrift.TMultiplexedProcessor;
import org.apache.thrift.TProcessor;
import org.apache.thrift.protocol.TBinaryProtocol;
import org.apache.thrift.protocol.TCompactProtocol;
import org.apache.thrift.protocol.TMultiplexedProtocol;
import org.apache.thrift.protocol.TProtocol;
import org.apache.thrift.protocol.TProtocolFactory;
import org.apache.thrift.server.TThreadPoolServer;
import org.apache.thrift.transport.TServerSocket;
import org.apache.thrift.transport.TSocket;
import org.apache.thrift.transport.layered.TFramedTransport;

/** A Thrift server, or a client of one: server WIRE PORT, client WIRE PORT CASE... WIRE: framed binary, compact, multi. */
public class Peer {
  interface Call {
    Object run() throws Exception;
  }

  static class Service implements Echo.Iface {
    final AtomicInteger notes = new AtomicInteger();

    public String echo(String text) {
      return text;
    }

    public long add(int a, long b) {
      return a + b;
    }

    public void nothing() {}

    public String fails(String why) throws Declared {
      throw new Declared(17, why);
    }

    public String breaks() {
      throw new IllegalStateException("broken inside");
    }

    public String slow(int ms) {
      try {
        Thread.sleep(ms);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      return "slept";
    }

    public String big(int size) {
      StringBuilder text = new StringBuilder(size);
      for (int i = 0; i < size; i++) text.append('v');
      return text.toString();
    }

    public void note(String text) {
      notes.incrementAndGet();
    }

    public int noted() {
      return notes.get();
    }
  }

  static TProtocolFactory protocols(String wire) {
    return wire.equals("compact") ? new TCompactProtocol.Factory() : new TBinaryProtocol.Factory(true, true);
  }

  static void serve(int port, String wire) throws Exception {
    TProcessor processor = new Echo.Processor<>(new Service());
    if (wire.equals("multi")) {
      TMultiplexedProcessor all = new TMultiplexedProcessor();
      all.registerProcessor("Echo", processor);
      processor = all;
    }
    TServerSocket socket = new TServerSocket(new InetSocketAddress("127.0.0.1", port));
    System.out.println("READY " + port);
    new TThreadPoolServer(
            new TThreadPoolServer.Args(socket)
                .processor(processor)
                .transportFactory(new TFramedTransport.Factory(64 << 20))
                .protocolFactory(protocols(wire)))
        .serve();
  }

  final int port;
  final String wire;

  Peer(int port, String wire) {
    this.port = port;
    this.wire = wire;
  }

  TProtocol connect(String service) throws TException {
    TFramedTransport transport = new TFramedTransport(new TSocket("127.0.0.1", port), 64 << 20);
    transport.open();
    TProtocol protocol = protocols(wire).getProtocol(transport);
    return wire.equals("multi") ? new TMultiplexedProtocol(protocol, service) : protocol;
  }

  Echo.Client echo() throws TException {
    return new Echo.Client(connect("Echo"));
  }

  Object noted() throws Exception {
    Echo.Client client = echo();
    int before = client.noted();
    client.note("seen");
    for (int i = 0; i < 100; i++) {
      int now = client.noted();
      if (now > before) return now - before;
      Thread.sleep(20);
    }
    return 0;
  }

  interface Asks {
    void run(Echo.Client client) throws Exception;
  }

  Object after(Asks call) throws Exception {
    Echo.Client client = echo();
    try {
      call.run(client);
    } catch (TException e) {
      return e.getClass().getSimpleName() + ", then " + client.echo("still here");
    }
    return "no error";
  }

  Object call(String name) throws Exception {
    switch (name) {
      case "hello": return echo().echo("Zürich 🚀");
      case "add": return echo().add(2, 1L << 40);
      case "nothing": echo().nothing(); return null;
      case "declared": return echo().fails("not today");
      case "undeclared": return echo().breaks();
      case "missing": return new Missing.Client(connect("Missing")).gone();
      case "slow": return echo().slow(2000);
      case "big": return echo().big(1 << 20).length();
      case "oneway": return noted();
      case "many": return Cases.many(() -> echo()::echo);
      case "after-declared": return after(c -> c.fails("not today"));
      case "after-undeclared": return after(c -> c.breaks());
      case "after-nothing": return after(c -> c.nothing());
      case "after-slow": return after(c -> c.slow(2000));
      default: throw new IllegalArgumentException(name);
    }
  }

  static String raised(Throwable e) {
    int code = e instanceof Declared ? ((Declared) e).code : e instanceof TApplicationException ? ((TApplicationException) e).getType() : 0;
    String text = e instanceof Declared ? ((Declared) e).why : e.getMessage();
    return "[" + Cases.quoted(e.getClass().getSimpleName()) + ", " + code + ", " + Cases.quoted(text) + "]";
  }

  public static void main(String[] args) throws Exception {
    if (args[0].equals("server")) {
      serve(Integer.parseInt(args[2]), args[1]);
      return;
    }
    Peer peer = new Peer(Integer.parseInt(args[2]), args[1]);
    for (String name : Arrays.asList(args).subList(3, args.length))
      Cases.run(System.out, name, () -> peer.call(name), Peer::raised);
    System.exit(0);
  }
}
