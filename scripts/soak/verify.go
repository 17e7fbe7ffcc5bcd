package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// verify looks whether everything that the README promises holds, after the load and the
// faults. What does not hold is noted.
func (s *soak) verify(ctx context.Context) {
	for _, step := range []func(context.Context) error{
		s.settleAll, s.sabotaged, s.verified, s.compareWithModels, s.pulled, s.verified, s.private, s.countedLosses,
	} {
		if err := step(ctx); err != nil {
			s.world.wrong("at the end: %v", err)
		}
	}
}

// settleAll waits until all that was written is safe, and who has left is forgotten.
func (s *soak) settleAll(ctx context.Context) error {
	errs := []error{s.world.proxy.Heal(), s.world.connected(ctx), s.world.retried(ctx)}
	for _, k := range s.workers {
		for _, p := range k.people {
			if p.standing != leaving {
				continue
			}
			waiting, cancel := context.WithTimeout(ctx, patience/4)
			errs = append(errs, until(waiting, 20*time.Millisecond, func() error { return s.world.forgotten(ctx, p.id) }))
			cancel()
		}
	}
	// What expires about now must be gone on both sides before they are compared.
	pause(ctx, s.dying()+margin)
	return errors.Join(errs...)
}

func (s *soak) sabotaged(ctx context.Context) error {
	if s.sabotage == nil {
		return nil
	}
	return s.sabotage(ctx, s.world)
}

// verified asks the module. What is away does not differ.
func (s *soak) verified(ctx context.Context) error {
	got, err := s.world.asked(ctx, "SPONSOR.VERIFY")
	if err != nil {
		return err
	}
	for _, name := range []string{"missing_remote", "missing_local", "different", "ttl_differs", "busy", "failed"} {
		if got[name] != "0" {
			s.world.wrong("at the end: SPONSOR.VERIFY: %s = %s: %v", name, got[name], got)
		}
	}
	if got["checked"] == "0" {
		s.world.wrong("at the end: SPONSOR.VERIFY has compared nothing: %v", got)
	}
	s.verdict = fmt.Sprintf("%s keys checked, %s same, %s away", got["checked"], got["same"], got["away"])
	return nil
}

// pulled brings everything back: after that nothing may be away.
func (s *soak) pulled(ctx context.Context) error {
	got, err := s.world.asked(ctx, "SPONSOR.PULL")
	if err == nil && got["failed"] != "0" {
		err = fmt.Errorf("SPONSOR.PULL: %v", got)
	}
	return err
}

// compareWithModels reads every key by every way: here, as a client does, and on the
// remote.
func (s *soak) compareWithModels(ctx context.Context) error {
	var people []*person
	for _, k := range s.workers {
		people = append(people, k.people...)
	}
	for _, r := range s.readers {
		people = append(people, r.person)
	}
	people = append(people, &person{id: s.faults.outsideID, state: s.faults.added})
	local := s.world.client()
	defer local.Close()
	for _, p := range people {
		if p.standing == stranger {
			continue // nothing is promised to them, except that they are not on the remote
		}
		for key, kind := range keysFor(p.id) {
			if _, ok := p.state[key]; !ok && strings.HasPrefix(key, "user_details:") && s.reads(p.id) {
				continue // the API writes it; the module compares it
			}
			p.dying(key) // what has expired is forgotten
			s.compareKey(ctx, local, "here", p, key, kind)
			if p.standing == sponsor {
				s.compareKey(ctx, s.world.remote.db, "on the remote", p, key, kind)
			}
		}
	}
	return nil
}

func (s *soak) reads(id string) bool {
	return slices.ContainsFunc(s.readers, func(r *reader) bool { return r.id == id })
}

func (s *soak) compareKey(ctx context.Context, db *redis.Client, where string, p *person, key string, k kind) {
	got, err := look(ctx, db, key, k)
	want := p.state[key]
	s.compared++
	switch {
	case err != nil:
		s.world.wrong("at the end: %s %s: %v", key, where, err)
	case !got.equal(want):
		s.world.wrong("at the end: %s %s:\nwant %v\ngot  %v\n%s\n%s", key, where, want, got, difference(want, got), p.about(key))
	}
}

// private looks at every key of the remote: it must be the set of sponsors, a sponsor's,
// or the module's own.
func (s *soak) private(ctx context.Context) error {
	sponsors, err := s.world.local.db.SMembers(ctx, sponsorsKey).Result()
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, id := range sponsors {
		for key := range keysFor(id) {
			known[key] = true
		}
	}
	if known[keyspace.ExcludedNodesKey(outsider+"0")] || len(known) == 0 {
		return fmt.Errorf("%s is not what it should be: %.300q", sponsorsKey, sponsors)
	}
	keys := s.world.remote.db.Scan(ctx, 0, "*", 10_000).Iterator()
	for keys.Next(ctx) {
		if key := keys.Val(); !known[key] && key != sponsorsKey && !strings.HasPrefix(key, "sponsor:") {
			s.world.wrong("at the end: the remote has %q, which belongs to no sponsor", key)
		}
		s.onRemote++
	}
	return keys.Err()
}

// countedLosses looks at what the module itself says. Nothing here may be lost: whoever
// evicts has waited until what travels as a whole was safe. Nor may a command have run
// with what is here: no fault lasts that long.
func (s *soak) countedLosses(ctx context.Context) error {
	s.sampler.take(ctx)
	for _, name := range []string{"lost", "timeouts"} {
		if n := s.sampler.total(name); n > 0 {
			s.world.wrong("at the end: %s = %d", name, n)
		}
	}
	info, err := s.world.info(ctx)
	if err == nil && info["sponsor_dead_letters"] != "0" {
		err = fmt.Errorf("dead_letters = %s", info["sponsor_dead_letters"])
	}
	return err
}

// inLogs must stand in no log.
var inLogs = []string{"BUG REPORT", "panic", "fatal error:", "DATA RACE", "Guru Meditation"}

func (s *soak) examineLogs() {
	logs := map[string]string{"local": s.world.local.Log(), "remote": s.world.remote.Log()}
	paths, _ := filepath.Glob(filepath.Join(s.world.dir, "*.log")) // the pattern is good
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			s.world.wrong("%v", err)
		}
		logs[filepath.Base(path)] = string(text)
	}
	for _, name := range slices.Sorted(maps.Keys(logs)) {
		for _, bad := range inLogs {
			if i := strings.Index(logs[name], bad); i >= 0 {
				s.world.wrong("the log of %s:\n%s", name, logs[name][max(0, i-shown):min(len(logs[name]), i+10*shown)])
			}
		}
	}
}
