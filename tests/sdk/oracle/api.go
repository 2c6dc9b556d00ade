package main

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/centrifugal/centrifuge"
)

// call is the body of every call of the server API that scenarios make.
type call struct {
	User       string
	Channel    string
	Client     string
	Data       json.RawMessage
	Tags       map[string]string
	Disconnect *struct {
		Code   uint32
		Reason string
	}
	Expired  bool
	Version  uint64
	Epoch    string `json:"version_epoch"`
	ExpireAt int64  `json:"expire_at"`
	Commands []map[string]call
}

// serveAPI does what /api/METHOD of the server under test does.
func serveAPI(node *centrifuge.Node, w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-API-Key") != "sdk-tests" {
		http.Error(w, "", http.StatusUnauthorized)
		return
	}
	var body call
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	if method == "batch" {
		replies := []map[string]any{}
		for _, command := range body.Commands {
			for method, body := range command {
				replies = append(replies, answer(node, method, body, method))
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"replies": replies})
		return
	}
	_ = json.NewEncoder(w).Encode(answer(node, method, body, "result"))
}

// answer is the answer of a call, with its result under this name.
func answer(node *centrifuge.Node, method string, body call, name string) map[string]any {
	result, err := run(node, method, body)
	if err != nil {
		return map[string]any{"error": err}
	}
	return map[string]any{name: result}
}

func run(node *centrifuge.Node, method string, body call) (any, error) {
	options, unknown := find(body.Channel)
	none := map[string]any{}
	switch method {
	case "publish":
		if unknown != nil {
			return nil, unknown
		}
		how := options.publish()
		result, err := node.Publish(body.Channel, body.Data,
			centrifuge.WithTags(body.Tags), centrifuge.WithDelta(how.UseDelta),
			centrifuge.WithVersion(body.Version, body.Epoch), centrifuge.WithHistory(how.HistorySize, how.HistoryTTL))
		return map[string]any{"offset": result.Offset, "epoch": result.Epoch}, err
	case "subscribe":
		if unknown != nil {
			return nil, unknown
		}
		return none, node.Subscribe(body.User, body.Channel, subscribeOptions(options, body)...)
	case "unsubscribe":
		return none, node.Unsubscribe(body.User, body.Channel, centrifuge.WithUnsubscribeClient(body.Client))
	case "disconnect":
		code := centrifuge.DisconnectForceNoReconnect
		if body.Disconnect != nil {
			code = centrifuge.Disconnect{Code: body.Disconnect.Code, Reason: body.Disconnect.Reason}
		}
		return none, node.Disconnect(body.User,
			centrifuge.WithDisconnectClient(body.Client), centrifuge.WithCustomDisconnect(code))
	case "refresh":
		return none, node.Refresh(body.User, centrifuge.WithRefreshClient(body.Client),
			centrifuge.WithRefreshExpired(body.Expired), centrifuge.WithRefreshExpireAt(body.ExpireAt))
	}
	return nil, centrifuge.ErrorMethodNotFound
}

func subscribeOptions(options namespace, body call) []centrifuge.SubscribeOption {
	return []centrifuge.SubscribeOption{
		centrifuge.WithSubscribeClient(body.Client),
		centrifuge.WithEmitPresence(options.presence),
		centrifuge.WithEmitJoinLeave(options.presence),
		centrifuge.WithPushJoinLeave(options.presence),
		centrifuge.WithPositioning(options.stream),
		centrifuge.WithRecovery(options.stream),
		centrifuge.WithSubscribeData(body.Data),
	}
}
