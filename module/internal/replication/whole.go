package replication

import (
	"strconv"
	"strings"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// A stager tells stages of one key apart, which may be built at the same time: by a
// SYNC of somebody's, by one of our own, by a change, and still by a session that was
// ended. What somebody builds begins by removing what they have left before.
type stager string

// Those of a session who build stages.
const (
	bySync   = "s"
	byMeet   = "m"
	byChange = "c"
)

// sessionsApart is how many sessions in a row have stages of their own.
const sessionsApart = 8

func (s *session) stager(who string) stager {
	return stager(who + strconv.FormatInt(s.number%sessionsApart, 10))
}

// stage is where the value of key is put together on the remote, before it takes the
// place of what is there. Both names are in one slot of a cluster.
func (who stager) stage(key string) string {
	name := keyspace.OwnPrefix
	if _, rest, ok := strings.Cut(key, "{"); ok && strings.Index(rest, "}") > 0 {
		name += "stage-of:" + key // the key's own hash tag is the first one in it
	} else {
		name += "stage:{" + key + "}"
	}
	return name + ":" + string(who)
}

// stages are all that there may be of key.
func stages(key string) []string {
	var names []string
	for _, who := range []string{bySync, byMeet, byChange} {
		for i := range int64(sessionsApart) {
			names = append(names, stager(who+strconv.FormatInt(i, 10)).stage(key))
		}
	}
	return names
}

// readWhole reads the values of letters that want it, and returns the letters that
// can be sent as they are, and those whose values are large. What is not here any
// more cannot be sent.
func (s *session) readWhole(letters []*letter) (ready, large []*letter, err error) {
	var want []*letter
	for _, l := range letters {
		if !l.eraseOnly && (l.Base == journal.Whole || l.repair) {
			want = append(want, l)
		} else {
			ready = append(ready, l)
		}
	}
	if len(want) == 0 {
		return ready, nil, nil
	}
	err = eachInSlices(s.ctx, s.local, want, func(d Data, l *letter) error {
		stat := d.Stat(l.key)
		k := kinds[stat.Type]
		gone, was, stub := s.changes.touched(l.key)
		switch {
		case stat.Type == typeNone && l.repair:
			ready = append(ready, l) // what is known of it is sent
		case stat.Type == typeNone && stub:
			if was == nil {
				was = kindOf(l.Kind)
			}
			added, removed := l.states(gone)
			l.whole = &wholeValue{kind: was, stub: true, items: added, gone: append(gone, removed...)}
			ready = append(ready, l)
		case stat.Type == typeNone:
			s.missing(l)
		case l.key == s.config.sponsorsKey() && k != kinds["set"]:
			s.changes.die(l.flight, keyError("send", l.key, errNoSet))
		case k == nil:
			s.changes.die(l.flight, keyError("send "+stat.Type, l.key, errTypeCannotTravel))
		default:
			if isLarge, _ := isLarge(d, l.key, k, stat); isLarge {
				large = append(large, l)
				return nil
			}
			reply, err := k.readAll(d, l.key)
			if err != nil {
				return err
			}
			items, err := k.unpack(reply)
			if err != nil {
				return keyError("send "+k.name, l.key, err)
			}
			l.whole = &wholeValue{kind: k, items: items, expireAt: expireAt(stat), stub: stub}
			if stub && k.merges() {
				added, removed := l.states(gone)
				l.whole.gone = without(append(gone, removed...), k.names(items))
				l.whole.items = append(items, added...)
			}
			ready = append(ready, l)
		}
		return nil
	})
	return ready, large, err
}

// missing is told of a value that was to be sent and is not here.
func (s *session) missing(l *letter) {
	lost := !s.changes.superseded(l.key)
	if lost {
		s.fail("a change is lost", keyError("send", l.key, errGone))
	}
	s.changes.drop(lost, l.flight)
	if l.key == s.config.sponsorsKey() {
		s.changes.unpark()
	}
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

// stageAtOnce is how many commands may build a stage that takes its place in the
// same pipeline. With more of them, one may be refused, and others not: such a part
// must not take the place of the whole.
const stageAtOnce = 3

// commands are what makes key on the remote what v is: what builds it, and what makes
// it count if all of that was taken.
func (v *wholeValue) commands(key string, by stager) (build, finish []command) {
	switch {
	case v.kind == nil:
		return nil, nil // nothing is known to have been here
	case v.stub:
		build = append(build, v.kind.adds(key, v.items)...)
		build = append(build, v.kind.removes(key, v.gone)...)
		if v.expireAt != 0 {
			build = append(build, expiryCommand(key, v.expireAt))
		}
		return build, nil
	case v.kind.name == "string" && len(v.items) == 1:
		set := command{"SET", key, v.items[0]}
		if v.expireAt != 0 {
			set = append(set, "PXAT", strconv.FormatInt(v.expireAt, 10))
		}
		return []command{set}, nil
	}
	stage := by.stage(key)
	build = append([]command{{"UNLINK", stage}}, v.kind.adds(stage, v.items)...)
	build = append(build, command{"PEXPIRE", stage, remoteStageTTL})
	return build, takePlace(stage, key, v.expireAt)
}

// takePlace is what makes a stage the key.
func takePlace(stage, key string, expireAt int64) []command {
	return []command{expiryCommand(stage, expireAt), {"RENAME", stage, key}}
}
