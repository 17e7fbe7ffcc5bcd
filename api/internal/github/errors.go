package github

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/oauth2"
)

// A Kind tells whose fault an error is, and so what can be done about it.
type Kind int

// The kinds of errors.
const (
	// Nonsense: GitHub answered something that cannot be right.
	Nonsense Kind = iota
	// Unavailable: GitHub cannot be reached, or says it is out of order.
	Unavailable
	// Timeout: GitHub did not answer in time.
	Timeout
	// RateLimited: GitHub wants fewer requests.
	RateLimited
	// BadCode: the code is wrong, spent or too old. Sign in again.
	BadCode
	// UnverifiedEmail: the person's primary address is not verified yet.
	UnverifiedEmail
	// Misconfigured: the application's id, secret or callback is wrong.
	Misconfigured
)

var kindNames = map[Kind]string{
	Nonsense:        "nonsense",
	Unavailable:     "unavailable",
	Timeout:         "timeout",
	RateLimited:     "rate limited",
	BadCode:         "bad code",
	UnverifiedEmail: "unverified e-mail",
	Misconfigured:   "misconfigured application",
}

func (k Kind) String() string { return kindNames[k] }

// An Error is a call to GitHub that failed. Its text names the call and the
// kind, never what GitHub sent: that may hold the code or the token.
type Error struct {
	Call   string // exchange, user …
	Kind   Kind
	Status int // HTTP status, or 0
}

func (e *Error) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("github %s: %s (status %d)", e.Call, e.Kind, e.Status)
	}
	return fmt.Sprintf("github %s: %s", e.Call, e.Kind)
}

// exchangeError sorts what x/oauth2 returns. Its own text quotes the whole
// answer, so it is not wrapped.
func exchangeError(err error) error {
	const call = "exchange"
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return transportError(call, err)
	}
	status := 0
	if refused.Response != nil {
		status = refused.Response.StatusCode
	}
	switch refused.ErrorCode {
	case "":
		return statusError(call, status)
	case "bad_verification_code":
		return &Error{call, BadCode, 0}
	case "unverified_user_email":
		return &Error{call, UnverifiedEmail, 0}
	case "incorrect_client_credentials", "redirect_uri_mismatch":
		return &Error{call, Misconfigured, 0}
	default:
		return &Error{call, Nonsense, status}
	}
}

// transportError sorts an error of a call that got no usable answer.
func transportError(call string, err error) error {
	var network net.Error
	var op *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("github %s: %w", call, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return &Error{call, Timeout, 0}
	case errors.As(err, &op), errors.Is(err, errBroken):
		return &Error{call, Unavailable, 0}
	default:
		return &Error{call, Nonsense, 0}
	}
}

// statusError sorts an answer whose status is not 200.
func statusError(call string, status int) error {
	switch {
	case status == 504:
		return &Error{call, Timeout, status}
	case status >= 500:
		return &Error{call, Unavailable, status}
	case status == 403, status == 429:
		return &Error{call, RateLimited, status}
	default:
		return &Error{call, Nonsense, status}
	}
}
