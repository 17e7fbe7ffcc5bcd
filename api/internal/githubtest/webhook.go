package githubtest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // GitHub still sends the old signature
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"time"
)

// DeliveryTimeout is how long GitHub waits for the answer to a delivery.
const DeliveryTimeout = 10 * time.Second

// ErrNoWebhook is a delivery without an address.
var ErrNoWebhook = errors.New("no webhook is set")

// hookID is the id of the one webhook.
const hookID = 400_000_001

type webhook struct{ url, secret string }

// SetWebhook sets where events are delivered to, and with which secret they are
// signed from now on. An empty url means nowhere; with an empty secret nothing is
// signed, as with GitHub.
func (s *Server) SetWebhook(url, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhook = webhook{url, secret}
}

// A Delivery is one message to the webhook. To deliver the same one again is what
// GitHub calls a redelivery.
type Delivery struct {
	GUID  string
	Event string // sponsorship or ping
	Body  []byte
	// Secret signs the body. Empty means no signature.
	Secret string
}

// delivery makes a new one, signed with the webhook's secret. The caller holds
// s.mu.
func (s *Server) delivery(event string, body []byte) Delivery {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return Delivery{
		GUID:  fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]),
		Event: event, Body: body, Secret: s.webhook.secret,
	}
}

// Header is what GitHub sends with the body.
func (d Delivery) Header() http.Header {
	h := http.Header{}
	for k, v := range map[string]string{
		"Accept":            "*/*",
		"Content-Type":      "application/json",
		"User-Agent":        "GitHub-Hookshot/5741d2e",
		"X-GitHub-Event":    d.Event,
		"X-GitHub-Delivery": d.GUID,
		"X-GitHub-Hook-ID":  strconv.Itoa(hookID),
	} {
		h.Set(k, v)
	}
	if d.Secret != "" {
		h.Set("X-Hub-Signature-256", "sha256="+d.sign(sha256.New))
		h.Set("X-Hub-Signature", "sha1="+d.sign(sha1.New))
	}
	return h
}

func (d Delivery) sign(algorithm func() hash.Hash) string {
	mac := hmac.New(algorithm, []byte(d.Secret))
	mac.Write(d.Body)
	return hex.EncodeToString(mac.Sum(nil))
}

// A Reply is what the webhook answers.
type Reply struct {
	Status int
	Body   string // its first 64 KiB
}

// courier carries deliveries. It follows no redirects, as GitHub does not, and
// goes through no proxy.
var courier = &http.Client{
	Timeout:       DeliveryTimeout,
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Deliver posts the delivery to the webhook. Any status is a Reply; an error is
// ErrNoWebhook, or that there was no reply in time.
func (s *Server) Deliver(ctx context.Context, d Delivery) (Reply, error) {
	s.mu.Lock()
	url := s.webhook.url
	s.mu.Unlock()
	if url == "" {
		return Reply{}, ErrNoWebhook
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.Body))
	if err != nil {
		return Reply{}, fmt.Errorf("deliver %s: %w", d.GUID, err)
	}
	req.Header = d.Header()
	resp, err := courier.Do(req)
	if err != nil {
		return Reply{}, fmt.Errorf("deliver %s: %w", d.GUID, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return Reply{}, fmt.Errorf("deliver %s: read the answer: %w", d.GUID, err)
	}
	return Reply{resp.StatusCode, string(body)}, nil
}
