// Command centrifuge is the library that Centrifugo is made of, as a peer: anybody may connect,
// subscribe and publish, rpc `echo` returns its data. Channels named "chat:..." have what Corecast's
// have with --dev: history, recovery, positioning, presence, join and leave. Buffers as Centrifugo's
// documentation advises for many connections; bounds and pings as Corecast's defaults.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/segmentio/encoding/json"
)

// A body of /api/publish, as Centrifugo's and Corecast's server API has it.
type publishRequest struct {
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
}

// api publishes what is posted with the key. The JSON package is the library's own, which is faster
// than the standard one.
func api(node *centrifuge.Node, key string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("X-API-Key") != key {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		body, err := io.ReadAll(r.Body)
		var request publishRequest
		if err != nil || json.Unmarshal(body, &request) != nil || request.Channel == "" {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		var options []centrifuge.PublishOption
		if isChat(request.Channel) {
			options = append(options, centrifuge.WithHistory(1000, 300*time.Second))
		}
		if _, err := node.Publish(request.Channel, request.Data, options...); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"result":{}}`)
	}
}

func isChat(channel string) bool { return strings.HasPrefix(channel, "chat:") }

func connected(client *centrifuge.Client) {
	client.OnSubscribe(func(e centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
		chat := isChat(e.Channel)
		answer(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{
			EnableRecovery:    chat,
			EnablePositioning: chat,
			EmitPresence:      chat,
			EmitJoinLeave:     chat,
			PushJoinLeave:     chat,
		}}, nil)
	})
	client.OnPublish(func(e centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
		reply := centrifuge.PublishReply{Options: centrifuge.PublishOptions{ClientInfo: e.ClientInfo}}
		if isChat(e.Channel) {
			reply.Options.HistorySize, reply.Options.HistoryTTL = 1000, 300*time.Second
		}
		answer(reply, nil)
	})
	client.OnHistory(func(_ centrifuge.HistoryEvent, answer centrifuge.HistoryCallback) {
		answer(centrifuge.HistoryReply{}, nil)
	})
	client.OnPresence(func(_ centrifuge.PresenceEvent, answer centrifuge.PresenceCallback) {
		answer(centrifuge.PresenceReply{}, nil)
	})
	client.OnRPC(func(e centrifuge.RPCEvent, answer centrifuge.RPCCallback) {
		if e.Method != "echo" {
			answer(centrifuge.RPCReply{}, centrifuge.ErrorMethodNotFound)
			return
		}
		answer(centrifuge.RPCReply{Data: e.Data}, nil)
	})
}

func main() {
	port := flag.Int("port", 8000, "port on 127.0.0.1")
	key := flag.String("api-key", "bench-bench-bench", "key of /api/publish, as the suite sends it")
	flag.Parse()

	node, err := centrifuge.New(centrifuge.Config{ClientQueueMaxSize: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(connected)
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		ReadBufferSize:     1024,
		UseWriteBufferPool: true,
		MessageSizeLimit:   64 << 10,
		PingPongConfig: centrifuge.PingPongConfig{
			PingInterval: 25 * time.Second,
			PongTimeout:  8 * time.Second,
		},
	}))
	http.Handle("/api/publish", api(node, *key))
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		os.Exit(0)
	}()
	fmt.Println("ready")
	log.Fatal(http.Serve(listener, nil))
}
