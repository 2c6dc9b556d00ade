package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"
)

// claims of connection and subscription tokens, as far as the tests use them.
type claims struct {
	Subject  string          `json:"sub"`
	Expires  int64           `json:"exp"`
	Info     json.RawMessage `json:"info"`
	Channels []string        `json:"channels"`
	Channel  string          `json:"channel"`
}

var (
	errForged  = errors.New("forged token")
	errExpired = errors.New("expired token")
)

// read checks an HS256 token.
func read(token, secret string) (claims, error) {
	var claims claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims, errForged
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
		return claims, errForged
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(body, &claims) != nil {
		return claims, errForged
	}
	if claims.Expires != 0 && claims.Expires <= time.Now().Unix() {
		return claims, errExpired
	}
	return claims, nil
}

// connectionError is what a connection with a bad token is answered.
func connectionError(err error) error {
	if errors.Is(err, errExpired) {
		return centrifuge.ErrorTokenExpired
	}
	return centrifuge.DisconnectInvalidToken
}

// subscriptionError is what a subscribe with a bad token is answered.
func subscriptionError(err error) error {
	if errors.Is(err, errExpired) {
		return centrifuge.ErrorTokenExpired
	}
	return centrifuge.ErrorPermissionDenied
}
