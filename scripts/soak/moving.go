package main

import (
	"context"
	"fmt"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// Some people come and go. on-lapse is purge here: when somebody has left, the remote
// must forget them, and what is on the remote at the end belongs to sponsors alone. They
// come back only after that: who comes back before has both sides merged, and then
// nobody knows what must be there.

// move has somebody become a sponsor, or stop being one.
func (k *worker) move(ctx context.Context, p *person) {
	name := "SADD"
	switch p.standing {
	case sponsor:
		if k.w.nobodyLeaves.Load() || !k.allSent(ctx) {
			return
		}
		name = "SREM"
	case stranger:
		// From here on everything counts.
		if k.adopt(ctx, p); p.losses != k.w.losses.Load() {
			return
		}
	}
	p.note("%s %s", name, sponsorsKey)
	if p.standing == sponsor {
		k.w.leaving.Add(1)
		p.standing = leaving
	} else {
		p.standing = sponsor
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	// To say it twice does no harm.
	err := until(ctx, 20*time.Millisecond, func() error { return k.db.Do(ctx, name, sponsorsKey, p.id).Err() })
	if err != nil {
		k.w.wrong("%s %s %s: %v\n%s", name, sponsorsKey, p.id, err, p.about())
	}
	k.w.counts.moves.Add(1)
}

// allSent tells whether all that was written has arrived, or soon has. Of somebody who
// leaves while a change of a key as a whole (a list, string or stream, SPOP) is on its way,
// or a dead letter, the remote keeps what it had of that key. When that is mended, this can
// go.
func (k *worker) allSent(ctx context.Context) bool {
	const soon = 500 // ms
	left, err := k.db.Do(ctx, "SPONSOR.WAIT", soon).Int()
	return err == nil && left == 0
}

// hasLeft looks whether the remote has forgotten somebody.
func (k *worker) hasLeft(ctx context.Context, p *person) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := k.w.forgotten(ctx, p.id); err != nil {
		return // not yet, or the remote is down
	}
	p.note("the remote has forgotten them")
	p.standing = stranger
	k.w.leaving.Add(-1)
}

// forgotten is an error as long as the remote has something of somebody.
func (w *world) forgotten(ctx context.Context, id string) error {
	var keys []string
	for key := range keysFor(id) {
		keys = append(keys, key)
	}
	n, err := w.remote.db.Exists(ctx, keys...).Result()
	if err == nil && n > 0 {
		err = fmt.Errorf("the remote has %d keys of %s, who has left", n, id)
	}
	return err
}

// adopt takes what is there of somebody for what must be there: evictions may have taken
// what they had while they did not sponsor.
func (k *worker) adopt(ctx context.Context, p *person) {
	losses := k.w.losses.Load()
	var keys []string
	for key := range keysFor(p.id) {
		if p.dying(key) {
			return // later
		}
		keys = append(keys, key)
	}
	seen, err := k.see(ctx, p, keys)
	if err != nil {
		k.w.wrong("read what %s has: %v", p.id, err)
		return
	}
	p.state, p.losses = seen, losses
}

const org = "acme"

var sponsorsKey = keyspace.SponsorsKey(org)
