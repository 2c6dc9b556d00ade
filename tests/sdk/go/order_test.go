package sdk

import (
	"fmt"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

// What README's section on order promises, done this often on each server. What is published while a
// client reconnects is npm's alone: this SDK sends it before its subscribes.
const rounds = 40

func data(n any) []byte { return fmt.Appendf(nil, `{"n":%v}`, n) }

func TestWhoSubscribesMayPublishAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, kit kit) {
		c := kit.connect(t, centrifuge.Config{})
		for range rounds {
			room := c.enter(t, channel("members"), centrifuge.SubscriptionConfig{})
			for n := range 3 {
				c.publish(t, room.Channel, n)
			}
			check(t, room.reach(t, "publication", 3), 3)
			must(t, room.Unsubscribe())
			must(t, c.RemoveSubscription(room.Subscription))
		}
	})
}

func TestWhoAwaitsHisPublicationAndLeavesHasHeardIt(t *testing.T) {
	everywhere(t, func(t *testing.T, kit kit) {
		c := kit.connect(t, centrifuge.Config{})
		for range rounds {
			room := c.subscribe(t, channel("members"))
			c.publish(t, room.Channel, 0)
			must(t, room.Unsubscribe())
			check(t, room.reach(t, "publication", 1), 1)
			must(t, c.RemoveSubscription(room.Subscription))
		}
	})
}

func TestWhomACallHasSubscribedMayPublish(t *testing.T) {
	everywhere(t, func(t *testing.T, kit kit) {
		user := channel("user")
		c := kit.connect(t, centrifuge.Config{Token: token(user, 10*time.Minute, nil)})
		for n := range rounds {
			name := channel("members")
			callAt(t, kit.server, "subscribe", map[string]any{"user": user, "channel": name})
			c.publish(t, name, n)
			equal(t, string(c.reach(t, "publication", n+1)[n].(centrifuge.Publication).Data), string(data(n)))
		}
	}, "server subscriptions", "api")
}

func TestCallsThatWereAwaitedHaveTakenEffect(t *testing.T) {
	everywhere(t, func(t *testing.T, kit kit) {
		for round := range rounds {
			user, name := channel("user"), channel("chat")
			var clients []*client
			for range 3 {
				clients = append(clients, kit.connect(t, centrifuge.Config{Token: token(user, 10*time.Minute, nil)}))
			}
			whom := map[string]any{"user": user, "channel": name}
			publish := func(n string) map[string]any {
				return map[string]any{"publish": map[string]any{"channel": name, "data": n}}
			}
			commands := []map[string]any{
				{"subscribe": whom}, publish("in"),
				{"unsubscribe": whom}, publish("out"),
				{"subscribe": whom}, publish("farewell"),
				{"disconnect": map[string]any{"user": user}},
			}
			if round%2 == 0 {
				callAt(t, kit.server, "batch", map[string]any{"commands": commands})
			} else {
				for _, command := range commands {
					for method, body := range command {
						callAt(t, kit.server, method, body.(map[string]any))
					}
				}
			}
			for _, c := range clients {
				equal(t, c.reach(t, "disconnected", 1)[0], any(uint32(3503)))
				var heard []string
				for _, each := range c.now("publication") {
					heard = append(heard, string(each.(centrifuge.Publication).Data))
				}
				equal(t, fmt.Sprint(heard), `["in" "farewell"]`)
			}
		}
	}, "server subscriptions", "api")
}
