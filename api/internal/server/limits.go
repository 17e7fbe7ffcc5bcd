package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-chi/httprate"
)

// The defaults of Limits.
const (
	DefaultPerAddress = 600
	DefaultPerPerson  = 300
)

// Limits are how many requests a minute are answered. What asks GitHub or both
// databases counts tenfold, and so does a visitor who is new; what a proxy asks at
// /auth counts a tenth. Zero: as many as come.
type Limits struct {
	PerAddress int // of one IPv4 address, or of one /64 of IPv6
	PerPerson  int // of one person or visitor, wherever they are
}

// limiter holds requests against Limits. It may be used from several goroutines.
type limiter struct {
	addresses, persons *httprate.RateLimiter // nil: no limit
	told               func(by string)
}

func newLimiter(l Limits, told func(by string)) *limiter {
	sliding := func(n int) *httprate.RateLimiter {
		if n == 0 {
			return nil
		}
		return httprate.NewRateLimiter(n*usual, time.Minute,
			httprate.WithResponseHeaders(httprate.ResponseHeaders{RetryAfter: "Retry-After"}))
	}
	return &limiter{addresses: sliding(l.PerAddress), persons: sliding(l.PerPerson), told: told}
}

// address counts a request of an address. The weight is that of the route.
func (l *limiter) address(w http.ResponseWriter, r *http.Request, a netip.Addr) error {
	if a.Is6() {
		if prefix, err := a.Prefix(64); err == nil {
			a = prefix.Addr() // a customer gets as many addresses as they like
		}
	}
	return l.count(l.addresses, "address", a.String(), w, r)
}

// newcomer counts what a visitor costs who was not there before.
func (l *limiter) newcomer(w http.ResponseWriter, r *http.Request, a netip.Addr) error {
	return l.address(w, heavier(r), a)
}

// person counts a request of somebody, by what only they have.
func (l *limiter) person(w http.ResponseWriter, r *http.Request, id string) error {
	return l.count(l.persons, "person", id, w, r)
}

func (l *limiter) count(limit *httprate.RateLimiter, by, key string, w http.ResponseWriter, r *http.Request) error {
	if limit == nil || !limit.OnLimit(w, r, key) {
		return nil
	}
	l.told(by)
	return &problem{
		Status: http.StatusTooManyRequests, Title: "Too many requests",
		Detail: fmt.Sprintf("That is more than one %s may ask in a minute. Please wait a little.", by),
	}
}

// heavier is a request that counts as a costly one from now on.
func heavier(r *http.Request) *http.Request {
	return r.WithContext(httprate.WithIncrement(r.Context(), costly))
}
