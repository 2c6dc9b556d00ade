// The oracle: the Go library that Corecast's protocol comes from, set up like the server under
// test. The SDK tests pass against both; where one fails here, the test is wrong.
package main

import (
	"context"
	"errors"
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
	// Subscribers may ask for deltas, or filter by tags.
	delta, filter bool
	// The last publication is recovered by everybody, and SDKs publish one in 250 ms.
	cache bool
}

// subscription is what a subscriber of such a channel gets.
func (n namespace) subscription(numbers bool) centrifuge.SubscribeOptions {
	options := centrifuge.SubscribeOptions{
		EmitPresence:      n.presence,
		EmitJoinLeave:     n.presence,
		PushJoinLeave:     n.presence,
		EnablePositioning: n.stream,
		EnableRecovery:    n.stream,
		AllowTagsFilter:   n.filter,

		AllowChannelCompaction: numbers,
	}
	if n.cache {
		options.RecoveryMode, options.AutoCacheRecover = centrifuge.RecoveryModeCache, true
		options.ClientPublishDebounceInterval = 250 * time.Millisecond
	}
	if n.delta {
		options.AllowedDeltaTypes = []centrifuge.DeltaType{centrifuge.DeltaTypeFossil}
	}
	return options
}

// publish is how a publication is kept and sent.
func (n namespace) publish() centrifuge.PublishOptions {
	options := centrifuge.PublishOptions{UseDelta: n.delta}
	if n.stream {
		options.HistorySize, options.HistoryTTL = 1000, 300*time.Second
	}
	return options
}

var namespaces = map[string]namespace{
	"":        {},
	"plain":   {},
	"chat":    {stream: true, presence: true},
	"members": {stream: true, presence: true, subscribers: true},
	"closed":  {stream: true, presence: true, closed: true},
	"delta":   {stream: true, delta: true},
	"tagged":  {stream: true, filter: true},
	"cache":   {stream: true, filter: true, cache: true},
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

// takesNumbers answers whether a client finds a subscription by its channel's number, as takes_numbers
// in src/edge/commands/subscribe.rs does: npm's SDK asks for it in Protobuf too, and hears nothing then.
func takesNumbers(client *centrifuge.Client) bool {
	storage, release := client.AcquireStorage()
	defer release(storage)
	switch storage["name"] {
	case "", "go", "python":
		return true
	}
	return client.Transport().Protocol() != centrifuge.ProtocolTypeProtobuf
}

func connected(node *centrifuge.Node, client *centrifuge.Client, secret string) {
	client.OnSubscribe(func(e centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
		options, unknown := find(e.Channel)
		if unknown != nil {
			answer(centrifuge.SubscribeReply{}, unknown)
			return
		}
		reply := centrifuge.SubscribeReply{Options: options.subscription(takesNumbers(client))}
		if e.Token != "" {
			claims, err := read(e.Token, secret)
			if err == nil && (claims.Channel != e.Channel || claims.Subject != client.UserID()) {
				err = errForged
			}
			if err != nil {
				answer(centrifuge.SubscribeReply{}, subscriptionError(err))
				return
			}
			reply.Options.ExpireAt, reply.Options.ChannelInfo = claims.Expires, claims.Info
			reply.ClientSideRefresh = true
		} else if options.closed {
			answer(centrifuge.SubscribeReply{}, centrifuge.ErrorPermissionDenied)
			return
		}
		answer(reply, nil)
	})
	client.OnRefresh(func(e centrifuge.RefreshEvent, answer centrifuge.RefreshCallback) {
		claims, err := read(e.Token, secret)
		switch {
		case errors.Is(err, errExpired):
			answer(centrifuge.RefreshReply{Expired: true}, nil)
		case err != nil:
			answer(centrifuge.RefreshReply{}, centrifuge.DisconnectInvalidToken)
		default:
			answer(centrifuge.RefreshReply{ExpireAt: claims.Expires, Info: claims.Info}, nil)
		}
	})
	client.OnSubRefresh(func(e centrifuge.SubRefreshEvent, answer centrifuge.SubRefreshCallback) {
		claims, err := read(e.Token, secret)
		switch {
		case errors.Is(err, errExpired):
			answer(centrifuge.SubRefreshReply{Expired: true}, nil)
		case err != nil, claims.Channel != e.Channel, claims.Subject != client.UserID():
			answer(centrifuge.SubRefreshReply{}, centrifuge.DisconnectInvalidToken)
		default:
			answer(centrifuge.SubRefreshReply{ExpireAt: claims.Expires, Info: claims.Info}, nil)
		}
	})
	client.OnPublish(func(e centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
		if err := check(client, e.Channel, func(namespace) bool { return true }); err != nil {
			answer(centrifuge.PublishReply{}, err)
			return
		}
		// The library makes no deltas of what it publishes after this answer.
		options, _ := find(e.Channel)
		how := options.publish()
		result, err := node.Publish(e.Channel, e.Data, centrifuge.WithClientInfo(e.ClientInfo),
			centrifuge.WithDelta(how.UseDelta), centrifuge.WithHistory(how.HistorySize, how.HistoryTTL))
		answer(centrifuge.PublishReply{Result: &result}, err)
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

	node, err := centrifuge.New(centrifuge.Config{
		ClientStaleCloseDelay: *connect,
		// Expired subscriptions are looked for with presence's updates.
		ClientPresenceUpdateInterval: time.Second,
		ClientExpiredSubCloseDelay:   5 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		reply := centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}, ClientSideRefresh: true}
		reply.Storage = map[string]any{"name": e.Name}
		if e.Token == "" {
			return reply, nil
		}
		claims, err := read(e.Token, *secret)
		if err != nil {
			return reply, connectionError(err)
		}
		reply.Credentials.UserID = claims.Subject
		reply.Credentials.ExpireAt = claims.Expires
		reply.Credentials.Info = claims.Info
		reply.Subscriptions = map[string]centrifuge.SubscribeOptions{}
		for _, channel := range claims.Channels {
			if options, unknown := find(channel); unknown == nil {
				reply.Subscriptions[channel] = options.subscription(false)
			}
		}
		return reply, nil
	})
	node.OnConnect(func(client *centrifuge.Client) { connected(node, client, *secret) })
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: *ping, PongTimeout: *pong},
	}))
	http.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) { serveAPI(node, w, r) })
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(*listen, nil))
}
