package sdk

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

var (
	address = env("SDK_URL", "ws://127.0.0.1:8000/connection/websocket")
	secret  = env("SDK_SECRET", "sdk-tests-secret-sdk-tests-secret")
	// The same server once more, with one worker, where there is one.
	oneWorker = os.Getenv("SDK_URL_ONE")
)

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// lacking says what the server under test does not have (lacks.json).
func lacking(t *testing.T) []string {
	text, err := os.ReadFile(env("SDK_FOLDER", "..") + "/lacks.json")
	var lacks map[string][]string
	if err == nil {
		err = json.Unmarshal(text, &lacks)
	}
	if err != nil {
		t.Fatal(err)
	}
	return lacks[env("SDK_SERVER", "corecast")]
}

// kit is what clients of one codec are made by.
type kit struct {
	name   string
	make   func(string, centrifuge.Config) *centrifuge.Client
	server string
}

var kits = []kit{
	{"json", centrifuge.NewJsonClient, address},
	{"protobuf", centrifuge.NewProtobufClient, address},
}

// each runs a scenario for clients of every codec, all at once.
func each(t *testing.T, scenario func(*testing.T, kit), needs ...string) {
	t.Parallel()
	for _, kit := range kits {
		t.Run(kit.name, func(t *testing.T) {
			t.Parallel()
			skipWhereLacking(t, append(needs, kit.name)...)
			scenario(t, kit)
		})
	}
}

// everywhere runs a scenario for each codec and server, with four workers and with one; one after the
// other, and before those that run side by side, since each does the same very often.
func everywhere(t *testing.T, scenario func(*testing.T, kit), needs ...string) {
	for _, kit := range kits {
		t.Run(kit.name, func(t *testing.T) {
			skipWhereLacking(t, append(needs, kit.name)...)
			for _, server := range []string{address, oneWorker} {
				if server != "" {
					kit.server = server
					scenario(t, kit)
				}
			}
		})
	}
}

func skipWhereLacking(t *testing.T, needs ...string) {
	t.Helper()
	for _, need := range needs {
		if slices.Contains(lacking(t), need) {
			t.Skip("the server has no " + need)
		}
	}
}

// claims makes an HS256 token of what it is given and an expiry.
func token(user string, lasts time.Duration, claims map[string]any) string {
	body := map[string]any{"sub": user, "exp": time.Now().Add(lasts).Unix()}
	for name, value := range claims {
		body[name] = value
	}
	text, _ := json.Marshal(body)
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(text)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// channel names one that no other test uses.
func channel(namespace string) string { return namespace + ":" + rand.Text() }

// call is a call of the server API.
func call(t *testing.T, method string, body map[string]any) {
	t.Helper()
	callAt(t, address, method, body)
}

func callAt(t *testing.T, server, method string, body map[string]any) {
	t.Helper()
	text, _ := json.Marshal(body)
	at, _ := url.Parse(server)
	request, _ := http.NewRequest("POST", "http://"+at.Host+"/api/"+method, bytes.NewReader(text))
	request.Header.Set("X-API-Key", "sdk-tests")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var said struct {
		Error   any
		Replies []struct{ Error any }
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil || said.Error != nil {
		t.Fatalf("%s: %v %v", method, said.Error, err)
	}
	for _, reply := range said.Replies {
		if reply.Error != nil {
			t.Fatalf("%s: %v", method, reply.Error)
		}
	}
}

// seen collects what happened, by name.
type seen struct {
	mutex  sync.Mutex
	events map[string][]any
}

func (s *seen) add(name string, value any) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.events == nil {
		s.events = map[string][]any{}
	}
	s.events[name] = append(s.events[name], value)
}

func (s *seen) now(name string) []any {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.events[name])
}

// reach waits until something has happened so often.
func (s *seen) reach(t *testing.T, name string, count int) []any {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if events := s.now(name); len(events) >= count {
			return events
		} else if time.Now().After(deadline) {
			t.Fatalf("%d x %s: there were %d", count, name, len(events))
		}
	}
}

// client is an SDK client whose connection can be cut, and held back from coming again.
type client struct {
	*centrifuge.Client
	seen
	wire   sync.Mutex
	socket net.Conn
	held   chan struct{}
}

func (c *client) dial(ctx context.Context, network, to string) (net.Conn, error) {
	c.wire.Lock()
	held := c.held
	c.wire.Unlock()
	if held != nil {
		return nil, errors.New("held back")
	}
	socket, err := (&net.Dialer{}).DialContext(ctx, network, to)
	c.wire.Lock()
	c.socket = socket
	c.wire.Unlock()
	return socket, err
}

// cut ends the connection as a network does; release lets it come again.
func (c *client) cut() {
	c.wire.Lock()
	defer c.wire.Unlock()
	c.held = make(chan struct{})
	_ = c.socket.(*net.TCPConn).SetLinger(0)
	_ = c.socket.Close()
}

func (c *client) release() {
	c.wire.Lock()
	defer c.wire.Unlock()
	c.held = nil
}

// client makes one that is not connected.
func (k kit) client(t *testing.T, config centrifuge.Config) *client {
	c := &client{}
	config.NetDialContext = c.dial
	c.Client = k.make(k.server, config)
	t.Cleanup(c.Close)
	c.OnConnecting(func(e centrifuge.ConnectingEvent) { c.add("connecting", e.Code) })
	c.OnConnected(func(e centrifuge.ConnectedEvent) { c.add("connected", e.ClientID) })
	c.OnDisconnected(func(e centrifuge.DisconnectedEvent) { c.add("disconnected", e.Code) })
	c.OnError(func(e centrifuge.ErrorEvent) { c.add("error", e.Error) })
	c.OnSubscribed(func(e centrifuge.ServerSubscribedEvent) { c.add("subscribed", e) })
	c.OnUnsubscribed(func(e centrifuge.ServerUnsubscribedEvent) { c.add("unsubscribed", e.Channel) })
	c.OnPublication(func(e centrifuge.ServerPublicationEvent) { c.add("publication", e.Publication) })
	return c
}

func (k kit) connect(t *testing.T, config centrifuge.Config) *client {
	t.Helper()
	c := k.client(t, config)
	must(t, c.Connect())
	c.reach(t, "connected", 1)
	return c
}

// room is a subscription and what it brought.
type room struct {
	*centrifuge.Subscription
	seen
}

// enter subscribes, and waits for nothing.
func (c *client) enter(t *testing.T, name string, config centrifuge.SubscriptionConfig) *room {
	t.Helper()
	subscription, err := c.NewSubscription(name, config)
	must(t, err)
	r := &room{Subscription: subscription}
	r.OnSubscribing(func(e centrifuge.SubscribingEvent) { r.add("subscribing", e.Code) })
	r.OnSubscribed(func(e centrifuge.SubscribedEvent) { r.add("subscribed", e) })
	r.OnError(func(e centrifuge.SubscriptionErrorEvent) { r.add("error", e.Error) })
	r.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) { r.add("unsubscribed", e.Code) })
	r.OnPublication(func(e centrifuge.PublicationEvent) { r.add("publication", e.Publication) })
	r.OnJoin(func(e centrifuge.JoinEvent) { r.add("join", e.User) })
	r.OnLeave(func(e centrifuge.LeaveEvent) { r.add("leave", e.User) })
	must(t, subscription.Subscribe())
	return r
}

func (c *client) subscribe(t *testing.T, name string) *room {
	t.Helper()
	r := c.enter(t, name, centrifuge.SubscriptionConfig{})
	r.reach(t, "subscribed", 1)
	return r
}

func (c *client) publish(t *testing.T, name string, n int) {
	t.Helper()
	_, err := c.Publish(t.Context(), name, fmt.Appendf(nil, `{"n":%d}`, n))
	must(t, err)
}

// check sees that publications are {"n":0}, {"n":1}, ... and their offsets 1, 2, ....
func check(t *testing.T, publications []any, count int) {
	t.Helper()
	equal(t, len(publications), count)
	for n, each := range publications {
		publication := each.(centrifuge.Publication)
		equal(t, string(publication.Data), fmt.Sprintf(`{"n":%d}`, n))
		equal(t, publication.Offset, uint64(n+1))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Fatalf("%v instead of %v", got, wanted)
	}
}

// refused sees that an error is the server's, with this code.
func refused(t *testing.T, err error, code uint32) {
	t.Helper()
	var answer *centrifuge.Error
	if !errors.As(err, &answer) || answer.Code != code {
		t.Fatalf("%v instead of code %d", err, code)
	}
}
