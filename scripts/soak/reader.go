package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// A reader is somebody who excludes nodes by the API, takes them back, and lists them.
// Nobody else writes their nodes.
type reader struct {
	w       *world
	db      *redis.Client // to find out what became of a request without an answer
	dice    *dice
	login   string
	browser *browser // nil: not signed in
	*person
}

// readers is how many there are.
const readers = 4

func readerLogin(i int) string { return fmt.Sprintf("reader-%d", i+1) }

// read does one thing after the other, as worker.work does.
func (r *reader) read(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.w.gate.RLock()
		if ctx.Err() == nil {
			r.step(context.WithoutCancel(ctx))
		}
		r.w.gate.RUnlock()
	}
}

func (r *reader) step(ctx context.Context) {
	losing := r.w.losing.Load()
	if r.browser == nil {
		// Sessions are kept here alone: a flush ends them, and it will again.
		if !losing {
			r.signIn(ctx)
		}
		return
	}
	node := fmt.Sprintf("C%d", r.dice.IntN(longMost))
	switch n := r.dice.IntN(10); {
	case n < 4 || losing: // the API excludes by a script, which travels as a whole
		r.list(ctx)
	case n < 8:
		r.change(ctx, http.MethodGet, "SADD", node)
	default:
		r.change(ctx, http.MethodDelete, "SREM", node)
	}
}

// signIn begins a new session. The nodes of a visitor would become the person's: so the
// browser is a new one, which was no visitor's.
func (r *reader) signIn(ctx context.Context) {
	b := r.w.api.newBrowser()
	id, err := b.signIn(ctx, r.login)
	if err != nil {
		b.close()
		r.w.counts.refused.Add(1) // a server is down
		return
	}
	if r.person == nil {
		r.person = newPerson(id)
	}
	if id != r.id {
		r.w.wrong("%s is %s for the API, and was %s", r.login, id, r.id)
	}
	r.note("signed in")
	r.browser = b
}

func (r *reader) signedOut() {
	r.note("signed out")
	r.browser.close()
	r.browser = nil
}

func (r *reader) key() string { return keyspace.ExcludedNodesKey(r.id) }

// change excludes a node, or takes it back.
func (r *reader) change(ctx context.Context, method, does, node string) {
	r.note("%s %s %s by the API", does, r.key(), node)
	r.w.counts.requests.Add(1)
	var answer struct{ Message, User string }
	_, err := r.browser.call(ctx, &answer, method, "/exclude?"+url.Values{"id": {node}}.Encode(), nil)
	c := command{does, r.key(), node}
	switch {
	case err != nil:
		r.note("no answer: %v", err)
		r.settle(ctx, c)
	case strings.HasSuffix(answer.Message, anonymous) || answer.User == anonymous:
		r.signedOut()
	default:
		r.state.apply(c, nil)
	}
}

// settle finds out what became of a request. The API has several tries at it, which end
// with its answer; what it has sent to a server that hangs may still be on the way.
func (r *reader) settle(ctx context.Context, c command) {
	r.w.counts.broken.Add(1)
	pause(ctx, 500*time.Millisecond)
	k := worker{w: r.w, db: r.db}
	k.settle(ctx, r.person, []command{c})
}

func (r *reader) list(ctx context.Context) {
	r.w.counts.requests.Add(1)
	var answer nodeList
	_, err := r.browser.call(ctx, &answer, http.MethodGet, "/exclude", nil)
	switch want := slices.Sorted(maps.Keys(r.state[r.key()].elements)); {
	case err != nil && !errors.Is(err, errStatus):
		r.w.counts.broken.Add(1)
	case err != nil:
		r.w.counts.refused.Add(1)
	case answer.User == anonymous:
		r.signedOut()
	case !slices.Equal(answer.Nodes, want):
		r.w.wrong("GET /exclude of %s lists\n%q, want\n%q\n%s", r.id, answer.Nodes, want, r.about(r.key()))
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
