// What an application does with the unmodified Go SDK, in JSON and in Protobuf. Runs against
// Corecast and against the oracle; SDK_URL and SDK_SECRET name the server.
package sdk

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

func TestTokensNameTheUser(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		alice := kit.connect(t, centrifuge.Config{Token: token("alice", time.Minute, nil)})
		room := alice.subscribe(t, channel("chat"))
		presence, err := room.Presence(t.Context())
		must(t, err)
		equal(t, len(presence.Clients), 1)
		for _, info := range presence.Clients {
			equal(t, info.User, "alice")
		}
	})
}

func TestAnExpiredTokenIs109AndTheNextIsTaken(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		var asked atomic.Int32
		c := kit.connect(t, centrifuge.Config{GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
			if asked.Add(1) == 1 {
				return token("alice", -time.Minute, nil), nil
			}
			return token("alice", time.Minute, nil), nil
		}})
		equal(t, asked.Load(), 2)
		refused(t, c.now("error")[0].(error), 109)
	})
}

func TestAForgedTokenIs3500(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c := kit.client(t, centrifuge.Config{Token: token("alice", time.Minute, nil) + "x"})
		must(t, c.Connect())
		equal(t, c.reach(t, "disconnected", 1)[0], any(uint32(3500)))
	})
}

func TestPublicationsArriveInOrder(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		publisher, listener := kit.connect(t, centrifuge.Config{}), kit.connect(t, centrifuge.Config{})
		room := listener.subscribe(t, channel("chat"))
		for n := range 300 {
			publisher.publish(t, room.Channel, n)
		}
		check(t, room.reach(t, "publication", 300), 300)
	})
}

func TestRefusalsHaveTheirCodes(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c := kit.connect(t, centrifuge.Config{})
		for namespace, code := range map[string]uint32{"nowhere": 102, "closed": 103} {
			name := channel(namespace)
			room := c.enter(t, name, centrifuge.SubscriptionConfig{})
			equal(t, room.reach(t, "unsubscribed", 1)[0], any(code))
			_, err := c.Publish(t.Context(), name, []byte("{}"))
			refused(t, err, code)
		}
		_, err := c.History(t.Context(), channel("plain"))
		refused(t, err, 108)
		_, err = c.Presence(t.Context(), channel("plain"))
		refused(t, err, 108)
		_, err = c.RPC(t.Context(), "nothing-like-it", []byte("{}"))
		refused(t, err, 104)
	})
}

func TestHistory(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c, name := kit.connect(t, centrifuge.Config{}), channel("chat")
		for n := range 7 {
			c.publish(t, name, n)
		}
		top, err := c.History(t.Context(), name)
		must(t, err)
		equal(t, top.Offset, 7)
		read := func(options ...centrifuge.HistoryOption) (offsets []uint64) {
			page, err := c.History(t.Context(), name, options...)
			must(t, err)
			for _, publication := range page.Publications {
				offsets = append(offsets, publication.Offset)
			}
			return offsets
		}
		since := centrifuge.WithHistorySince(&centrifuge.StreamPosition{Offset: 3, Epoch: top.Epoch})
		limit, reverse := centrifuge.WithHistoryLimit, centrifuge.WithHistoryReverse(true)
		for _, row := range []struct{ got, wanted []uint64 }{
			{read(limit(-1)), []uint64{1, 2, 3, 4, 5, 6, 7}},
			{read(limit(2), since), []uint64{4, 5}},
			{read(limit(2), reverse), []uint64{7, 6}},
			{read(limit(2), since, reverse), []uint64{2, 1}},
		} {
			if !slices.Equal(row.got, row.wanted) {
				t.Fatalf("%v instead of %v", row.got, row.wanted)
			}
		}
		strange := &centrifuge.StreamPosition{Offset: 3, Epoch: "another"}
		_, err = c.History(t.Context(), name, limit(1), centrifuge.WithHistorySince(strange))
		refused(t, err, 112)
	})
}

func TestPresenceJoinsAndLeaves(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		alice := kit.connect(t, centrifuge.Config{Token: token("alice", time.Minute, nil)})
		bob := kit.connect(t, centrifuge.Config{Token: token("bob", time.Minute, nil)})
		room := alice.subscribe(t, channel("chat"))
		bob.subscribe(t, room.Channel)
		for count := 1; !slices.Contains(room.reach(t, "join", count), any("bob")); count++ {
			equal(t, room.now("join")[count-1], any("alice"))
		}
		stats, err := room.PresenceStats(t.Context())
		must(t, err)
		equal(t, stats, centrifuge.PresenceStatsResult{
			PresenceStats: centrifuge.PresenceStats{NumClients: 2, NumUsers: 2},
		})
		bob.cut()
		equal(t, room.reach(t, "leave", 1)[0], any("bob"))
	})
}

func TestRpcAndSend(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c := kit.connect(t, centrifuge.Config{})
		data := `{"text":"h\u00e9","deep":[null,{"n":1.5}]}`
		answer, err := c.RPC(t.Context(), "echo", []byte(data))
		must(t, err)
		equal(t, string(answer.Data), data)
		must(t, c.Send(t.Context(), []byte(data)))
		_, err = c.RPC(t.Context(), "ping", []byte("{}"))
		must(t, err)
	})
}

func TestACutSubscriberRecoversAll(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		publisher, listener := kit.connect(t, centrifuge.Config{}), kit.connect(t, centrifuge.Config{})
		room := listener.subscribe(t, channel("chat"))
		n := 0
		publish := func(count int) {
			for range count {
				publisher.publish(t, room.Channel, n)
				n++
			}
		}
		for times, away := range []int{30, 0, 100} {
			publish(10)
			room.reach(t, "publication", n)
			listener.cut()
			listener.reach(t, "connecting", 2+times)
			publish(away)
			listener.release()
			answer := room.reach(t, "subscribed", 2+times)[1+times].(centrifuge.SubscribedEvent)
			equal(t, answer.WasRecovering && answer.Recovered, true)
		}
		publish(10)
		check(t, room.reach(t, "publication", n), n)
	})
}

func Test128SubscriptionsComeBackFromOneCut(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		publisher, listener := kit.connect(t, centrifuge.Config{}), kit.connect(t, centrifuge.Config{})
		var rooms []*room
		for range 128 {
			rooms = append(rooms, listener.enter(t, channel("chat"), centrifuge.SubscriptionConfig{}))
		}
		for _, room := range rooms {
			room.reach(t, "subscribed", 1)
		}
		listener.cut()
		listener.reach(t, "connecting", 2)
		for _, room := range rooms {
			publisher.publish(t, room.Channel, 0)
		}
		listener.release()
		for _, room := range rooms {
			answer := room.reach(t, "subscribed", 2)[1].(centrifuge.SubscribedEvent)
			equal(t, answer.WasRecovering && answer.Recovered, true)
			check(t, room.reach(t, "publication", 1), 1)
		}
	})
}

func TestUnsubscribedAndSubscribedAgain(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c := kit.connect(t, centrifuge.Config{})
		room := c.subscribe(t, channel("chat"))
		for n := range 5 {
			c.publish(t, room.Channel, n)
			room.reach(t, "publication", n+1)
			must(t, room.Unsubscribe())
			must(t, room.Subscribe())
			room.reach(t, "subscribed", n+2)
		}
		check(t, room.reach(t, "publication", 5), 5)
	})
}

func TestBigPublicationsArriveWhole(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c := kit.connect(t, centrifuge.Config{})
		room := c.subscribe(t, channel("chat"))
		data := `"` + strings.Repeat("\u00e9", 25_000) + `"`
		for range 5 {
			_, err := room.Publish(t.Context(), []byte(data))
			must(t, err)
		}
		for _, publication := range room.reach(t, "publication", 5) {
			equal(t, string(publication.(centrifuge.Publication).Data), data)
		}
	})
}

func TestPublicationsCrossCodecs(t *testing.T) {
	each(t, func(t *testing.T, from kit) {
		publisher, name := from.connect(t, centrifuge.Config{}), channel("chat")
		var rooms []*room
		for _, to := range kits {
			if slices.Contains(lacking(t), to.name) {
				continue
			}
			rooms = append(rooms, to.connect(t, centrifuge.Config{}).subscribe(t, name))
		}
		for n := range 20 {
			publisher.publish(t, name, n)
		}
		for _, room := range rooms {
			check(t, room.reach(t, "publication", 20), 20)
		}
	})
}

func TestPingsKeepAQuietConnection(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		// The server pings every 3 s; a second without one beyond that, and the SDK would reconnect.
		c := kit.connect(t, centrifuge.Config{MaxServerPingDelay: time.Second})
		time.Sleep(8 * time.Second)
		_, err := c.RPC(t.Context(), "ping", []byte("{}"))
		must(t, err)
		equal(t, len(c.now("connecting")), 1)
	})
}

func TestAConnectionIsRefreshed(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		var asked atomic.Int32
		var third sync.WaitGroup
		third.Add(1)
		c := kit.connect(t, centrifuge.Config{GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
			count := asked.Add(1)
			if count == 3 {
				third.Done()
			}
			if count < 3 {
				return token("alice", 2*time.Second, nil), nil
			}
			return token("alice", time.Minute, nil), nil
		}})
		third.Wait()
		_, err := c.RPC(t.Context(), "ping", []byte("{}"))
		must(t, err)
		equal(t, len(c.now("connecting")), 1)
	}, "refresh")
}

func TestASubscriptionTokenOpensWhatIsClosed(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c, name := kit.connect(t, centrifuge.Config{Token: token("alice", time.Minute, nil)}), channel("closed")
		claims := map[string]any{"channel": name}
		forged := c.enter(t, channel("closed"), centrifuge.SubscriptionConfig{
			Token: token("alice", time.Minute, claims),
		})
		equal(t, forged.reach(t, "unsubscribed", 1)[0], any(uint32(103)))
		var asked atomic.Int32
		room := c.enter(t, name, centrifuge.SubscriptionConfig{
			GetToken: func(centrifuge.SubscriptionTokenEvent) (string, error) {
				if asked.Add(1) < 3 {
					return token("alice", 2*time.Second, claims), nil
				}
				return token("alice", time.Minute, claims), nil
			},
		})
		room.reach(t, "subscribed", 1)
		for deadline := time.Now().Add(15 * time.Second); asked.Load() < 3; time.Sleep(10 * time.Millisecond) {
			equal(t, time.Now().Before(deadline), true)
		}
		equal(t, len(room.now("subscribing")), 1)
	}, "subscription tokens")
}

func TestAnExpiredTokenInBetweenEndsNoSubscription(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c, name := kit.connect(t, centrifuge.Config{Token: token("alice", time.Minute, nil)}), channel("closed")
		lasts := []time.Duration{2 * time.Second, -3 * time.Second, 600 * time.Second}
		var asked atomic.Int32
		room := c.enter(t, name, centrifuge.SubscriptionConfig{
			GetToken: func(centrifuge.SubscriptionTokenEvent) (string, error) {
				count := min(int(asked.Add(1)), len(lasts))
				return token("alice", lasts[count-1], map[string]any{"channel": name}), nil
			},
		})
		room.reach(t, "subscribed", 1)
		call(t, "publish", map[string]any{"channel": name, "data": map[string]int{"n": 0}})
		deadline := time.Now().Add(45 * time.Second)
		for asked.Load() < 3 || room.State() != centrifuge.SubStateSubscribed {
			equal(t, len(room.now("unsubscribed")), 0)
			equal(t, time.Now().Before(deadline), true)
			time.Sleep(10 * time.Millisecond)
		}
		call(t, "publish", map[string]any{"channel": name, "data": map[string]int{"n": 1}})
		check(t, room.reach(t, "publication", 2), 2)
	}, "api")
}

// A refresh that the server hears behind the end of its subscription must not end the next one. The
// token for it is held back until the subscription has ended, and that for the next one until the
// refresh is answered.
func TestARefreshBehindTheEndOfItsSubscriptionEndsNothing(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c, name := kit.connect(t, centrifuge.Config{Token: token("alice", time.Minute, nil)}), channel("closed")
		var asked atomic.Int32
		ended, answered := make(chan struct{}), make(chan struct{})
		room := c.enter(t, name, centrifuge.SubscriptionConfig{
			GetToken: func(centrifuge.SubscriptionTokenEvent) (string, error) {
				claims := map[string]any{"channel": name}
				switch asked.Add(1) {
				case 1:
					return token("alice", 2*time.Second, claims), nil
				case 2:
					<-ended
				default:
					<-answered
				}
				return token("alice", 10*time.Minute, claims), nil
			},
		})
		room.reach(t, "subscribed", 1)
		for deadline := time.Now().Add(45 * time.Second); asked.Load() < 3; time.Sleep(10 * time.Millisecond) {
			equal(t, time.Now().Before(deadline), true)
		}
		equal(t, room.now("subscribing")[1], any(uint32(2501)))
		close(ended)
		// The first was that of the subscribe with the old token.
		refused(t, room.reach(t, "error", 2)[1].(error), 109)
		close(answered)
		room.reach(t, "subscribed", 2)
		equal(t, len(room.now("unsubscribed")), 0)
		equal(t, room.State(), centrifuge.SubStateSubscribed)
	}, "late sub_refresh")
}

func TestGetStateIsAskedAgainWhereNothingCanBeRecovered(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		c, name := kit.connect(t, centrifuge.Config{}), channel("chat")
		c.publish(t, name, 0)
		var asked atomic.Int32
		room := c.enter(t, name, centrifuge.SubscriptionConfig{
			GetState: func(centrifuge.SubscriptionGetStateEvent) (centrifuge.StreamPosition, error) {
				if asked.Add(1) == 1 {
					return centrifuge.StreamPosition{Offset: 1, Epoch: "another"}, nil
				}
				top, err := c.History(t.Context(), name)
				return centrifuge.StreamPosition{Offset: top.Offset, Epoch: top.Epoch}, err
			},
		})
		answer := room.reach(t, "subscribed", 1)[0].(centrifuge.SubscribedEvent)
		equal(t, asked.Load(), 2)
		equal(t, answer.WasRecovering && answer.Recovered, true)
		c.publish(t, name, 1)
		published := room.reach(t, "publication", 1)
		equal(t, published[0].(centrifuge.Publication).Offset, 2)
	})
}

func TestANewTokenChangesTheSubscriptions(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		publisher, user := kit.connect(t, centrifuge.Config{}), channel("user")
		left, kept, begun := channel("chat"), channel("chat"), channel("chat")
		var asked atomic.Int32
		c := kit.client(t, centrifuge.Config{GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
			if asked.Add(1) == 1 {
				return token(user, 2*time.Second, map[string]any{"channels": []string{left, kept}}), nil
			}
			return token(user, 10*time.Minute, map[string]any{"channels": []string{kept, begun}}), nil
		}})
		must(t, c.Connect())
		equal(t, c.reach(t, "unsubscribed", 1)[0], any(left))
		equal(t, c.reach(t, "subscribed", 3)[2].(centrifuge.ServerSubscribedEvent).Channel, begun)
		for _, name := range []string{left, kept, begun} {
			publisher.publish(t, name, 0)
		}
		equal(t, len(c.reach(t, "publication", 2)), 2)
		call(t, "disconnect", map[string]any{"user": user})
		c.reach(t, "disconnected", 1)
		equal(t, len(c.now("publication")), 2)
		equal(t, len(c.now("connecting")), 1)
	}, "changed channels", "api")
}

func TestServerSideSubscriptions(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		name, later, user := channel("chat"), channel("chat"), channel("user")
		publisher := kit.connect(t, centrifuge.Config{})
		claims := map[string]any{"channels": []string{name}}
		c := kit.connect(t, centrifuge.Config{Token: token(user, time.Minute, claims)})
		c.reach(t, "subscribed", 1)
		publisher.publish(t, name, 0)
		c.reach(t, "publication", 1)
		c.cut()
		c.reach(t, "connecting", 2)
		publisher.publish(t, name, 1)
		c.release()
		answer := c.reach(t, "subscribed", 2)[1].(centrifuge.ServerSubscribedEvent)
		equal(t, answer.WasRecovering && answer.Recovered, true)
		check(t, c.reach(t, "publication", 2), 2)

		call(t, "subscribe", map[string]any{"user": user, "channel": later})
		equal(t, c.reach(t, "subscribed", 3)[2].(centrifuge.ServerSubscribedEvent).Channel, later)
		call(t, "unsubscribe", map[string]any{"user": user, "channel": later})
		equal(t, c.reach(t, "unsubscribed", 1)[0], any(later))
		call(t, "disconnect", map[string]any{"user": user})
		equal(t, c.reach(t, "disconnected", 1)[0], any(uint32(3503)))
	}, "server subscriptions", "api")
}
