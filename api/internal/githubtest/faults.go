package githubtest

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// An Endpoint is one part of GitHub that can fail by itself.
type Endpoint string

// The endpoints.
const (
	Authorize Endpoint = "authorize"
	Exchange  Endpoint = "exchange"
	User      Endpoint = "user"
	Emails    Endpoint = "emails"
	GraphQL   Endpoint = "graphql"
)

// A Fault is what an endpoint does in place of its work. The zero Fault does
// no harm.
type Fault struct {
	// Status and Body are the answer; Header adds to it.
	Status int               `json:"status,omitempty"`
	Body   string            `json:"body,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	// Hang answers nothing until the client gives up, or the stand-in heals:
	// then the request is served.
	Hang bool `json:"hang,omitempty"`
	// Drop closes the connection without an answer.
	Drop bool `json:"drop,omitempty"`
	// Endless sends a body that does not end.
	Endless bool `json:"endless,omitempty"`
	// NullNodes, LostNodes and Error spoil GraphQL's answer and leave the rest of
	// it: that many nodes of a page are null, the first ones; that many are left
	// out though they are counted, the last ones; and an error of that type
	// stands beside the data.
	NullNodes int    `json:"null_nodes,omitempty"`
	LostNodes int    `json:"lost_nodes,omitempty"`
	Error     string `json:"error,omitempty"`
	// After is how many requests are served before the fault begins.
	After int `json:"after,omitempty"`
	// Times is how many requests the fault hits before the endpoint heals.
	// Zero means all of them.
	Times int `json:"times,omitempty"`
}

// BadGateway is what GitHub answers to a query that took it ten seconds.
func BadGateway() Fault {
	return Fault{Status: http.StatusBadGateway, Body: "<html><title>502</title></html>"}
}

// GatewayTimeout is what a proxy in front of GitHub answers.
func GatewayTimeout() Fault {
	return Fault{Status: http.StatusGatewayTimeout, Body: "<html><title>504</title></html>"}
}

// Unauthorized is the answer to a token that GitHub does not know.
func Unauthorized() Fault {
	return Fault{Status: http.StatusUnauthorized, Body: `{"message":"Bad credentials"}`}
}

// RateLimited is REST's answer to too many requests.
func RateLimited() Fault {
	return Fault{
		Status: http.StatusForbidden, Body: `{"message":"API rate limit exceeded"}`,
		Header: map[string]string{"X-RateLimit-Remaining": "0", "Retry-After": "60"},
	}
}

// GraphQLError is GraphQL's way to fail: 200 with errors, here of the given
// type (RATE_LIMITED, NOT_FOUND, INSUFFICIENT_SCOPES …).
func GraphQLError(kind string) Fault {
	return Fault{Status: http.StatusOK, Body: `{"errors":[{"type":"` + kind + `","message":"the stand-in fails on demand"}]}`}
}

// ExchangeError is the exchange's way to fail: 200 with one of the Err… codes.
func ExchangeError(code string) Fault {
	return Fault{
		Status: http.StatusOK, Body: exchangeError(code).Encode(),
		Header: map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
	}
}

// Nonsense is an answer that is no JSON.
func Nonsense() Fault {
	return Fault{Status: http.StatusOK, Body: "<html>Unicorn!</html>"}
}

// SetFault makes an endpoint fail until Heal, or until fault.Times requests
// were hit. It takes the place of the endpoint's former fault.
func (s *Server) SetFault(e Endpoint, fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[e] = fault
}

// Heal ends every fault and lets the requests go that hang.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
	close(s.released)
	s.released = make(chan struct{})
}

// Calls is how often an endpoint was asked, faults included.
func (s *Server) Calls(e Endpoint) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[e]
}

// faulty lets an endpoint fail on demand.
func (s *Server) faulty(e Endpoint, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fault, released, ok := s.hit(e)
		if !ok {
			h(w, r)
			return
		}
		fault.serve(w, r, released, h)
	}
}

// hit counts a request and tells which fault it meets, and what lets it go if
// it hangs.
func (s *Server) hit(e Endpoint) (fault Fault, released <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[e]++
	fault, ok = s.faults[e]
	if ok && fault.After > 0 {
		fault.After--
		s.faults[e] = fault
		return Fault{}, s.released, false
	}
	if ok && fault.Times > 0 {
		fault.Times--
		s.faults[e] = fault
		if fault.Times == 0 {
			delete(s.faults, e)
		}
	}
	return fault, s.released, ok
}

func (f Fault) serve(w http.ResponseWriter, r *http.Request, released <-chan struct{}, next http.HandlerFunc) {
	switch {
	case f.Hang:
		// The body must be read, or the server does not see the client leave.
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case <-r.Context().Done():
		case <-released:
			next(w, r)
		}
		return
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.spoils():
		next(w, r.WithContext(context.WithValue(r.Context(), spoiling{}, f)))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	for k, v := range f.Header {
		w.Header().Set(k, v)
	}
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	_, err := w.Write([]byte(f.Body))
	chunk := make([]byte, 1<<16)
	for i := range chunk {
		chunk[i] = ' '
	}
	for f.Endless && err == nil {
		_, err = w.Write(chunk)
	}
}
