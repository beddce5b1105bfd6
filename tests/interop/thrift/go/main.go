// A Thrift server, or a client of one: server WIRE PORT, client WIRE PORT CASE... WIRE: framed binary or compact, header
// (binary inside), multi (framed binary, multiplexed names).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"interop/gen-go/demo"
)

type service struct{ notes atomic.Int32 }

func (s *service) Add(_ context.Context, a int32, b int64) (int64, error)   { return int64(a) + b, nil }
func (s *service) Nothing(_ context.Context) error                          { return nil }
func (s *service) Breaks(_ context.Context) (string, error)                 { return "", errors.New("broken inside") }
func (s *service) Big(_ context.Context, size int32) (string, error)        { return strings.Repeat("v", int(size)), nil }
func (s *service) Note(_ context.Context, _ string) error                   { s.notes.Add(1); return nil }
func (s *service) Noted(_ context.Context) (int32, error)                   { return s.notes.Load(), nil }
func (s *service) Echo(ctx context.Context, text string) (string, error) {
	if text != "headers" {
		return text, nil
	}
	found := map[string]string{}
	for _, key := range thrift.GetReadHeaderList(ctx) {
		found[key], _ = thrift.GetHeader(ctx, key)
	}
	if helper, ok := thrift.GetResponseHelper(ctx); ok {
		helper.SetHeader("x-served", "go")
	}
	said, err := json.Marshal(found)
	return string(said), err
}
func (s *service) Fails(_ context.Context, why string) (string, error) {
	return "", &demo.Declared{Code: 17, Why: why}
}
func (s *service) Slow(_ context.Context, ms int32) (string, error) {
	time.Sleep(time.Duration(ms) * time.Millisecond)
	return "slept", nil
}

func factories(wire string) (thrift.TTransportFactory, thrift.TProtocolFactory) {
	config := &thrift.TConfiguration{MaxMessageSize: 64 << 20, MaxFrameSize: 64 << 20}
	framed := thrift.NewTFramedTransportFactoryConf(thrift.NewTTransportFactory(), config)
	switch wire {
	case "compact":
		return framed, thrift.NewTCompactProtocolFactoryConf(config)
	case "header":
		return thrift.NewTHeaderTransportFactoryConf(nil, config), thrift.NewTHeaderProtocolFactoryConf(config)
	}
	return framed, thrift.NewTBinaryProtocolFactoryConf(config)
}

func serve(port, wire string) error {
	socket, err := thrift.NewTServerSocket("127.0.0.1:" + port)
	if err != nil {
		return err
	}
	if err := socket.Listen(); err != nil {
		return err
	}
	var processor thrift.TProcessor = demo.NewEchoProcessor(&service{})
	if wire == "multi" {
		all := thrift.NewTMultiplexedProcessor()
		all.RegisterProcessor("Echo", processor)
		processor = all
	}
	transport, protocol := factories(wire)
	fmt.Println("READY", port)
	return thrift.NewTSimpleServer4(processor, socket, transport, protocol).Serve()
}

func connect(port, wire, name string) (thrift.TClient, error) {
	transports, protocols := factories(wire)
	transport, err := transports.GetTransport(thrift.NewTSocketConf(net.JoinHostPort("127.0.0.1", port), nil))
	if err != nil {
		return nil, err
	}
	if err := transport.Open(); err != nil {
		return nil, err
	}
	in, out := protocols.GetProtocol(transport), protocols.GetProtocol(transport)
	if wire == "header" {
		out = in
	}
	if wire == "multi" {
		out = thrift.NewTMultiplexedProtocol(out, name)
	}
	return thrift.NewTStandardClient(in, out), nil
}

func echo(port, wire string) (*demo.EchoClient, error) {
	client, err := connect(port, wire, "Echo")
	if err != nil {
		return nil, err
	}
	return demo.NewEchoClient(client), nil
}

func many(port, wire string) int {
	var right atomic.Int32
	var all sync.WaitGroup
	for who := 0; who < 8; who++ {
		all.Add(1)
		go func(who int) {
			defer all.Done()
			client, err := echo(port, wire)
			for n := 0; err == nil && n < 125; n++ {
				text := fmt.Sprintf("%d-%d", who, n)
				if got, failed := client.Echo(context.Background(), text); failed == nil && got == text {
					right.Add(1)
				}
			}
		}(who)
	}
	all.Wait()
	return int(right.Load())
}

func noted(client *demo.EchoClient) (any, error) {
	ctx := context.Background()
	before, err := client.Noted(ctx)
	if err == nil {
		err = client.Note(ctx, "seen")
	}
	for i := 0; i < 100 && err == nil; i++ {
		var now int32
		if now, err = client.Noted(ctx); now > before {
			return now - before, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 0, err
}

// What the server sees, and what of its answer.
func headers(client *demo.EchoClient, sent map[string]string) (any, error) {
	ctx := context.Background()
	var names []string
	for key, value := range sent {
		ctx = thrift.SetHeader(ctx, key, value)
		names = append(names, key)
	}
	said, err := client.Echo(thrift.SetWriteHeaderList(ctx, names), "headers")
	if err != nil {
		return nil, err
	}
	answered := client.LastResponseMeta_().Headers
	if answered == nil {
		answered = thrift.THeaderMap{}
	}
	return []any{json.RawMessage(said), answered}, nil
}

func nameOf(err error) string {
	var declared *demo.Declared
	var application thrift.TApplicationException
	switch {
	case errors.As(err, &declared):
		return "Declared"
	case errors.As(err, &application):
		return "TApplicationException"
	}
	return fmt.Sprintf("%T", err)
}

func after(client *demo.EchoClient, err error) (any, error) {
	if err == nil {
		return "no error", nil
	}
	text, failed := client.Echo(context.Background(), "still here")
	return nameOf(err) + ", then " + text, failed
}

func call(name, port, wire string) (any, error) {
	ctx := context.Background()
	client, err := echo(port, wire)
	if err != nil {
		return nil, err
	}
	switch name {
	case "hello":
		return client.Echo(ctx, "Zürich 🚀")
	case "add":
		return client.Add(ctx, 2, 1<<40)
	case "nothing":
		return nil, client.Nothing(ctx)
	case "declared":
		return client.Fails(ctx, "not today")
	case "undeclared":
		return client.Breaks(ctx)
	case "slow":
		return client.Slow(ctx, 2000)
	case "big":
		text, err := client.Big(ctx, 1<<20)
		return len(text), err
	case "oneway":
		return noted(client)
	case "headers":
		return headers(client, map[string]string{"zone": "east", "empty": ""})
	case "no-headers":
		return headers(client, nil)
	case "many":
		return many(port, wire), nil
	case "missing":
		missing, err := connect(port, wire, "Missing")
		if err != nil {
			return nil, err
		}
		return demo.NewMissingClient(missing).Gone(ctx)
	case "after-declared":
		_, err := client.Fails(ctx, "not today")
		return after(client, err)
	case "after-undeclared":
		_, err := client.Breaks(ctx)
		return after(client, err)
	case "after-nothing":
		err := client.Nothing(ctx)
		return after(client, err)
	case "after-slow":
		_, err := client.Slow(ctx, 2000)
		return after(client, err)
	}
	return nil, errors.New("no such case")
}

func said(value any, err error) map[string]any {
	var declared *demo.Declared
	var application thrift.TApplicationException
	switch {
	case err == nil:
		return map[string]any{"value": value}
	case errors.As(err, &declared):
		return map[string]any{"raised": []any{"Declared", declared.Code, declared.Why}}
	case errors.As(err, &application):
		return map[string]any{"raised": []any{"TApplicationException", application.TypeId(), application.Error()}}
	}
	return map[string]any{"raised": []any{fmt.Sprintf("%T", err), 0, err.Error()}}
}

func main() {
	role, wire, port := os.Args[1], os.Args[2], os.Args[3]
	if role == "server" {
		fmt.Fprintln(os.Stderr, serve(port, wire))
		os.Exit(1)
	}
	for _, name := range os.Args[4:] {
		line := said(call(name, port, wire))
		line["case"] = name
		text, _ := json.Marshal(line)
		fmt.Println(string(text))
	}
}
