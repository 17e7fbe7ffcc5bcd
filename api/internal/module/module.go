// Package module asks the module in the local Redis: how things stand, whether
// somebody's data is safe on Redis Enterprise, and to erase it there.
package module

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// eraseTimeout is how long an erasure may take. The module waits for the remote.
const eraseTimeout = 20 * time.Second

// A Client asks one module. It may be used from several goroutines.
type Client struct {
	redis    *redis.Client
	patient  *redis.Client // for commands that wait for the remote
	safeties safeties
}

// New returns a Client.
func New(client *redis.Client) *Client {
	return &Client{redis: client, patient: client.WithTimeout(eraseTimeout), safeties: safeties{known: make(map[string]answer)}}
}

// ErrMissing is a Redis without the module.
var ErrMissing = errors.New("the module sponsor.so is not loaded")

// known turns the answer of a Redis that does not know a command of the module
// into ErrMissing.
func known(err error) error {
	if redis.HasErrorPrefix(err, "unknown command") {
		return ErrMissing
	}
	return err
}

// link is SPONSOR.STATUS, and Safe if the module reaches the remote.
func (c *Client) link(ctx context.Context) (status map[string]any, link State) {
	status, err := c.ask(ctx, "SPONSOR.STATUS")
	if err != nil {
		return nil, Unknown
	}
	switch status["state"] {
	case "connected":
		return status, Safe
	case "connecting", "down":
		return status, Unreachable
	default:
		return status, Unknown
	}
}

// An EraseError is an erasure that is not known to be done.
type EraseError struct {
	// Begun tells that it is done on the local server, or will be, and noted for
	// Redis Enterprise, where it happens by itself. Otherwise nothing is erased.
	Begun bool
	// Refused tells that it has begun, and that Redis Enterprise does not do it.
	Refused bool
	Err     error
}

func (e *EraseError) Error() string { return "erase: " + e.Err.Error() }
func (e *EraseError) Unwrap() error { return e.Err }

// Erase removes all keys of a person on both servers, sponsor or not. When it
// returns nil, both have done so. It does not begin while Redis Enterprise cannot
// be reached. Errors are of type *EraseError.
func (c *Client) Erase(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, eraseTimeout)
	defer cancel()
	status, err := c.ask(ctx, "SPONSOR.STATUS")
	if err == nil && status["state"] != "connected" {
		err = fmt.Errorf("the module is %v: %v", status["state"], status["last_error"])
	}
	if err != nil {
		return &EraseError{Err: err}
	}
	_, err = run(ctx, c.patient, "SPONSOR.FORGET", id)
	if err == nil {
		return nil
	}
	// A command that was sent goes on without us.
	return &EraseError{
		Begun:   late(err) || strings.Contains(err.Error(), "erased here"),
		Refused: strings.Contains(err.Error(), "the remote has refused"), Err: err,
	}
}

// late tells an answer that did not come in time.
func late(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// run runs a command of the module, and a PING after it: Redis cannot unload a module
// while the last command of any connection was the module's, and ours stay open.
func run(ctx context.Context, client *redis.Client, args ...any) (any, error) {
	pipe := client.Pipeline()
	cmd := pipe.Do(ctx, args...)
	pipe.Ping(ctx)
	_, _ = pipe.Exec(ctx) // the command has the error that matters
	reply, err := cmd.Result()
	return reply, known(err)
}

// ask runs a command whose answer is a map.
func (c *Client) ask(ctx context.Context, args ...any) (map[string]any, error) {
	reply, err := run(ctx, c.redis, args...)
	if err != nil {
		return nil, err
	}
	fields, ok := reply.(map[any]any)
	if !ok {
		return nil, fmt.Errorf("%v: the answer is no map", args[0])
	}
	m := make(map[string]any, len(fields))
	for k, v := range fields {
		m[fmt.Sprint(k)] = v
	}
	return m, nil
}

func number(v any) int {
	n, _ := v.(int64) // what is no number is not there
	return int(n)
}
