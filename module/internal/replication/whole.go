package replication

import (
	"strings"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// remoteStageTTL is how long a value that is being put together on the remote
// outlives a crash, in milliseconds.
const remoteStageTTL = "600000"

// remoteStage is where the value of key is put together on the remote, before it
// takes the place of what is there. Both names are in one slot of a cluster.
func remoteStage(key string) string {
	const prefix = keyspace.OwnPrefix + "stage:"
	if _, rest, ok := strings.Cut(key, "{"); ok && strings.Index(rest, "}") > 0 {
		return prefix + key // the key's own hash tag is the first one in it
	}
	return prefix + "{" + key + "}"
}

// readWhole reads the values of letters that want it, and returns the letters that
// can be sent as they are, and those whose values are large. What is not here any
// more cannot be sent.
func (s *session) readWhole(letters []*letter) (ready, large []*letter, err error) {
	var want []*letter
	for _, l := range letters {
		if l.Base == journal.Whole || l.repair {
			want = append(want, l)
		} else {
			ready = append(ready, l)
		}
	}
	if len(want) == 0 {
		return ready, nil, nil
	}
	err = inSlices(s.ctx, s.local, func(d Data) (bool, error) {
		if len(want) == 0 {
			return true, nil
		}
		l := want[0]
		want = want[1:]
		stat := d.Stat(l.key)
		k := kinds[stat.Type]
		gone, was, stub := s.changes.touched(l.key)
		switch {
		case stat.Type == typeNone && l.repair:
			ready = append(ready, l) // what is known of it is sent
		case stat.Type == typeNone && stub:
			l.whole = &wholeValue{kind: was, stub: true, gone: gone}
			ready = append(ready, l)
		case stat.Type == typeNone:
			s.missing(l)
		case k == nil:
			s.changes.die(l.flight, keyError("send "+stat.Type, l.key, errTypeCannotTravel))
		case stat.Length > partElements || memoryUsage(d, l.key) > partBytes:
			large = append(large, l)
		default:
			reply, err := d.Read(k.all, l.key)
			if err != nil {
				return false, err
			}
			items, err := resp.Strings(reply)
			if err != nil {
				return false, keyError(k.all, l.key, err)
			}
			l.whole = &wholeValue{kind: k, items: items, expireAt: expireAt(stat), stub: stub, gone: without(gone, k.names(items))}
			ready = append(ready, l)
		}
		return false, nil
	}, nil)
	return ready, large, err
}

// missing is told of a value that was to be sent and is not here.
func (s *session) missing(l *letter) {
	lost := !s.changes.superseded(l.key)
	if lost {
		s.fail("a change is lost", keyError("send", l.key, errGone))
	}
	s.changes.drop(lost, l.flight)
}

// without is names but for those in others.
func without(names, others []string) []string {
	if len(names) == 0 {
		return nil
	}
	is := make(map[string]bool, len(others))
	for _, name := range others {
		is[name] = true
	}
	var rest []string
	for _, name := range names {
		if !is[name] {
			rest = append(rest, name)
		}
	}
	return rest
}

// commands are what makes key on the remote what v is.
func (v *wholeValue) commands(key string) []*remote.Command {
	if v.stub {
		var cmds []*remote.Command
		if v.kind == nil {
			return nil // nothing is known to have been here
		}
		cmds = append(cmds, v.kind.adds(key, v.items)...)
		cmds = append(cmds, v.kind.removes(key, v.gone)...)
		if v.expireAt != 0 {
			cmds = append(cmds, expiryCommand(key, v.expireAt))
		}
		return cmds
	}
	stage := remoteStage(key)
	cmds := []*remote.Command{remote.NewCommand("UNLINK", stage)}
	cmds = append(cmds, v.kind.adds(stage, v.items)...)
	return append(cmds, takePlace(stage, key, v.expireAt)...)
}

// takePlace is what makes a stage the key.
func takePlace(stage, key string, expireAt int64) []*remote.Command {
	return []*remote.Command{expiryCommand(stage, expireAt), remote.NewCommand("RENAME", stage, key)}
}

// sendLargeChanges sends values that are read page by page, one after the other.
func (s *session) sendLargeChanges() {
	pauses := sendPauses()
	for {
		select {
		case <-s.ctx.Done():
			return
		case f := <-s.large:
			func() {
				defer s.changes.back(f) // unless it has ended
				s.rest(pauses, s.sendLarge(&letter{flight: f}))
			}()
		}
	}
}

// sendLarge sends the value of l page by page, and tells how that has ended, unless
// it may be tried again.
func (s *session) sendLarge(l *letter) error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	watch := s.paging.begin(l.key)
	defer s.paging.end(watch)
	var (
		p       pager
		k       *kind
		target  string
		touched []string
		stub    bool
		broken  bool
		here    bool                    // and yet the key is here
		seen    = make(map[string]bool) // touched elements that are here
	)
	err = inSlices(s.ctx, s.local, func(d Data) (bool, error) {
		stat := d.Stat(l.key)
		if k == nil {
			k, touched, stub = nil, nil, false
			if k = kinds[stat.Type]; k != nil {
				touched, _, stub = s.changes.touched(l.key)
				p = newPager(l.key, k, stat, memoryUsage(d, l.key))
			}
		}
		if k == nil || stat.Type != k.name || watch.broken() {
			broken, here = true, stat.Type != typeNone
			return true, nil
		}
		return p.read(d, stat)
	}, func() error {
		if broken {
			return nil
		}
		items := p.take()
		var post commandsOfLetters
		if target == "" {
			if l.of = s.changes.unasked(l.key); l.of != nil {
				l.exists = remote.NewCommand("EXISTS", l.key)
				post.append(l.exists, l)
			}
			if target = l.key; !stub {
				target = remoteStage(l.key)
				post.append(remote.NewCommand("UNLINK", target), l)
			}
		}
		if stub {
			for _, name := range k.names(items) {
				seen[name] = true
			}
		}
		for _, cmd := range k.adds(target, items) {
			post.append(cmd, l)
		}
		if !stub {
			post.append(remote.NewCommand("PEXPIRE", target, remoteStageTTL), l)
		}
		if err := post.exec(s.ctx, client); err != nil {
			return err
		}
		return l.refused
	})
	switch {
	case l.refused != nil:
		return s.delivered(l)
	case err != nil:
		return err
	case broken && here && !s.changes.superseded(l.key):
		return keyError("send", l.key, errReplacedMeanwhile)
	case broken:
		s.missing(l)
		return nil
	}
	var post commandsOfLetters
	last := takePlace(target, l.key, p.expireAt)
	if stub {
		gone := touched[:0]
		for _, name := range touched {
			if !seen[name] {
				gone = append(gone, name)
			}
		}
		last = k.removes(l.key, gone)
		if p.expireAt != 0 {
			last = append(last, expiryCommand(l.key, p.expireAt))
		}
	}
	for _, cmd := range last {
		post.append(cmd, l)
	}
	if err := post.exec(s.ctx, client); err != nil {
		return err
	}
	l.whole = &wholeValue{}
	return s.delivered(l)
}
