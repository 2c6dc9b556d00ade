package sdk

import (
	"errors"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
	"github.com/centrifugal/gocent/v3"
)

// TestGocent is a backend with the unmodified library of before the server API had paths: commands
// are POSTed to /api, one or many.
func TestGocent(t *testing.T) {
	each(t, func(t *testing.T, kit kit) {
		at, err := url.Parse(address)
		must(t, err)
		backend := func(key string) *gocent.Client {
			return gocent.New(gocent.Config{Addr: "http://" + at.Host + "/api", Key: key})
		}
		api, ctx := backend("sdk-tests"), t.Context()
		user, name := channel("user"), channel("chat")
		c := kit.connect(t, centrifuge.Config{Token: token(user, time.Minute, nil)})

		must(t, api.Subscribe(ctx, name, user))
		stats, err := api.PresenceStats(ctx, name)
		must(t, err)
		equal(t, stats.NumClients, 1)
		published, err := api.Publish(ctx, name, []byte(`{"n":0}`))
		must(t, err)
		equal(t, published.Offset, 1)
		presence, err := api.Presence(ctx, name)
		must(t, err)
		for _, info := range presence.Presence {
			equal(t, info.User, user)
		}
		equal(t, len(presence.Presence), 1)
		told, err := api.Broadcast(ctx, []string{name, channel("nowhere")}, []byte(`{"n":1}`))
		must(t, err)
		equal(t, told.Responses[0].Result.Offset, 2)
		equal(t, told.Responses[1].Error.Code, 102)

		// What fails is an error in its place, and the others are carried out, in order.
		pipe := api.Pipe()
		must(t, pipe.AddPublish(name, []byte(`{"n":2}`)))
		must(t, pipe.AddPublish(channel("nowhere"), []byte(`{"n":0}`)))
		must(t, pipe.AddHistory(name, gocent.WithLimit(gocent.NoLimit)))
		must(t, pipe.AddInfo())
		must(t, pipe.AddDisconnect(user))
		replies, err := api.SendPipe(ctx, pipe)
		must(t, err)
		equal(t, len(replies), 5)
		for index, reply := range replies {
			equal(t, reply.Error != nil, index == 1)
		}
		equal(t, replies[1].Error.Code, 102)
		equal(t, c.reach(t, "disconnected", 1)[0], any(uint32(3503)))
		check(t, c.now("publication"), 3)

		history, err := api.History(ctx, name, gocent.WithLimit(2), gocent.WithReverse(true))
		must(t, err)
		equal(t, history.Offset, 3)
		equal(t, history.Publications[0].Offset, 3)
		must(t, api.HistoryRemove(ctx, name))
		info, err := api.Info(ctx)
		must(t, err)
		equal(t, strconv.Itoa(len(info.Nodes)), env("SDK_NODES", "1"))

		_, err = api.Publish(ctx, channel("nowhere"), []byte("1"))
		var refusal *gocent.Error
		equal(t, errors.As(err, &refusal) && refusal.Code == 102, true)
		_, err = backend("wrong").Info(ctx)
		var status gocent.ErrStatusCode
		equal(t, errors.As(err, &status) && status.Code == 401, true)
	}, "post api")
}
