// The oracle: the Go library that Corecast's protocol comes from, set up like the server under
// test. The SDK tests pass against both; where one fails here, the test is wrong.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"
)

// namespace holds what tests/sdk/server.toml says of one.
type namespace struct {
	stream, presence, closed bool
	// Only subscribers may publish and ask.
	subscribers bool
}

var namespaces = map[string]namespace{
	"":        {},
	"plain":   {},
	"chat":    {stream: true, presence: true},
	"members": {stream: true, presence: true, subscribers: true},
	"closed":  {stream: true, presence: true, closed: true},
}

func find(channel string) (namespace, *centrifuge.Error) {
	name, _, named := strings.Cut(channel, ":")
	if !named {
		name = ""
	}
	options, known := namespaces[name]
	if !known {
		return options, centrifuge.ErrorUnknownChannel
	}
	return options, nil
}

// check answers whether a client may do a thing in a channel that has, or lacks, the feature.
func check(client *centrifuge.Client, channel string, feature func(namespace) bool) error {
	options, unknown := find(channel)
	switch {
	case unknown != nil:
		return unknown
	case options.closed, options.subscribers && !client.IsSubscribed(channel):
		return centrifuge.ErrorPermissionDenied
	case !feature(options):
		return centrifuge.ErrorNotAvailable
	}
	return nil
}

// user reads an HS256 token: who it names, or the answer to a bad one.
func user(token, secret string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", centrifuge.DisconnectInvalidToken
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
		return "", centrifuge.DisconnectInvalidToken
	}
	var claims struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(body, &claims) != nil {
		return "", centrifuge.DisconnectInvalidToken
	}
	if claims.Expires != 0 && claims.Expires <= time.Now().Unix() {
		return "", centrifuge.ErrorTokenExpired
	}
	return claims.Subject, nil
}

func connected(client *centrifuge.Client) {
	client.OnSubscribe(func(e centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
		options, unknown := find(e.Channel)
		if unknown != nil {
			answer(centrifuge.SubscribeReply{}, unknown)
			return
		}
		if options.closed {
			answer(centrifuge.SubscribeReply{}, centrifuge.ErrorPermissionDenied)
			return
		}
		answer(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{
			EmitPresence:      options.presence,
			EmitJoinLeave:     options.presence,
			PushJoinLeave:     options.presence,
			EnablePositioning: options.stream,
			EnableRecovery:    options.stream,
		}}, nil)
	})
	client.OnPublish(func(e centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
		err := check(client, e.Channel, func(namespace) bool { return true })
		reply := centrifuge.PublishReply{Options: centrifuge.PublishOptions{ClientInfo: e.ClientInfo}}
		if options, _ := find(e.Channel); options.stream {
			reply.Options.HistorySize, reply.Options.HistoryTTL = 1000, 300*time.Second
		}
		answer(reply, err)
	})
	client.OnHistory(func(e centrifuge.HistoryEvent, answer centrifuge.HistoryCallback) {
		err := check(client, e.Channel, func(n namespace) bool { return n.stream })
		answer(centrifuge.HistoryReply{}, err)
	})
	client.OnPresence(func(e centrifuge.PresenceEvent, answer centrifuge.PresenceCallback) {
		err := check(client, e.Channel, func(n namespace) bool { return n.presence })
		answer(centrifuge.PresenceReply{}, err)
	})
	client.OnPresenceStats(func(e centrifuge.PresenceStatsEvent, answer centrifuge.PresenceStatsCallback) {
		err := check(client, e.Channel, func(n namespace) bool { return n.presence })
		answer(centrifuge.PresenceStatsReply{}, err)
	})
	client.OnRPC(func(e centrifuge.RPCEvent, answer centrifuge.RPCCallback) {
		switch e.Method {
		case "ping":
			answer(centrifuge.RPCReply{Data: []byte("{}")}, nil)
		case "echo":
			answer(centrifuge.RPCReply{Data: e.Data}, nil)
		default:
			answer(centrifuge.RPCReply{}, centrifuge.ErrorMethodNotFound)
		}
	})
	client.OnMessage(func(centrifuge.MessageEvent) {})
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "address to serve")
	secret := flag.String("secret", "", "HS256 secret of connection tokens")
	ping := flag.Duration("ping", 25*time.Second, "time between pings")
	pong := flag.Duration("pong", 8*time.Second, "time a pong may take")
	connect := flag.Duration("connect", 10*time.Second, "time a connect command may take")
	flag.Parse()

	node, err := centrifuge.New(centrifuge.Config{ClientStaleCloseDelay: *connect})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		name := ""
		if e.Token != "" {
			var err error
			if name, err = user(e.Token, *secret); err != nil {
				return centrifuge.ConnectReply{}, err
			}
		}
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: name}}, nil
	})
	node.OnConnect(connected)
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: *ping, PongTimeout: *pong},
	}))
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(*listen, nil))
}
