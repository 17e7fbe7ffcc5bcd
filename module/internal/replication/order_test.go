package replication

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
)

// An orderWorld is all that the order of changes is about, in memory: what this server
// has of some keys, what its journal holds, and what the remote has. Changes are
// written, fly, arrive or not, are acknowledged or not; the server crashes and reads its
// journal again. At the end the remote must be what this server is.
type orderWorld struct {
	rng     *rand.Rand
	changes *changes

	here, there map[string]map[string]bool // members of sets, by key
	journal     map[string]string
	flying      []flight
	held        []string
	lost        map[string]bool // keys of which a whole value could not be sent
	history     []string
}

func newOrderWorld(seed uint64) *orderWorld {
	w := &orderWorld{
		rng:  rand.New(rand.NewPCG(seed, 0)),
		here: make(map[string]map[string]bool), there: make(map[string]map[string]bool),
		journal: make(map[string]string), lost: make(map[string]bool),
	}
	w.start()
	return w
}

func (w *orderWorld) start() {
	w.changes = newChanges()
	w.changes.setLimit([]int64{1, 500, 1 << 20}[w.rng.IntN(3)])
	w.flying, w.held = nil, nil
}

func (w *orderWorld) note(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

// add notes a change, in the same moment as the write itself.
func (w *orderWorld) add(key string, m journal.Mark) {
	w.journal[key] = w.changes.add(key, m, func() string { return w.journal[key] })
}

var orderKeys = []string{"a", "b", "c"}

// write is a client's.
func (w *orderWorld) write() {
	key, member := orderKeys[w.rng.IntN(len(orderKeys))], fmt.Sprint(w.rng.IntN(4))
	set := w.here[key]
	element := func(present bool) journal.Mark {
		return journal.Mark{Kind: journal.Set, Elements: map[string]journal.Element{member: {Present: present}}}
	}
	switch w.rng.IntN(8) {
	case 0:
		if set != nil {
			w.note("DEL %s", key)
			delete(w.here, key)
			w.add(key, journal.Mark{Base: journal.Deleted})
		}
	case 1:
		w.note("replace %s", key)
		w.here[key] = map[string]bool{member: true}
		w.add(key, journal.Mark{Base: journal.Whole})
	case 2, 3:
		if set[member] && len(set) > 1 {
			w.note("SREM %s %s", key, member)
			delete(set, member)
			w.add(key, element(false))
		}
	default:
		w.note("SADD %s %s", key, member)
		if set == nil {
			set = make(map[string]bool)
			w.here[key] = set
		}
		set[member] = true
		w.add(key, element(true))
	}
}

// deliver is what the engine does with a flight (writebehind.go, whole.go): it reports
// what the remote is to do, or that a whole value is not here.
func (w *orderWorld) deliver(f flight) (arrive func(), missing bool) {
	m := f.Mark
	var whole map[string]bool
	if m.Base == journal.Whole {
		set := w.here[f.key]
		if set == nil {
			return nil, true
		}
		whole = maps.Clone(set)
	}
	elements := maps.Clone(m.Elements)
	return func() {
		switch m.Base {
		case journal.Whole:
			w.there[f.key] = whole
			return
		case journal.Deleted:
			delete(w.there, f.key)
		}
		for name, element := range elements {
			set := w.there[f.key]
			switch {
			case element.Present && set == nil:
				w.there[f.key] = map[string]bool{name: true}
			case element.Present:
				set[name] = true
			default:
				if delete(set, name); len(set) == 0 {
					delete(w.there, f.key)
				}
			}
		}
	}, false
}

// step does one random thing.
func (w *orderWorld) step() {
	c := w.changes
	switch w.rng.IntN(12) {
	case 0, 1:
		w.flying = append(w.flying, c.fly(1+w.rng.IntN(3), 1<<20)...)
	case 2, 3, 4:
		w.end(w.rng.IntN(4))
	case 5:
		key := orderKeys[w.rng.IntN(len(orderKeys))]
		w.note("hold %s", key)
		c.hold(key)
		w.held = append(w.held, key)
	case 6:
		if len(w.held) > 0 {
			c.release(w.held[0])
			w.held = w.held[1:]
		}
	case 7:
		w.tidy()
	case 8:
		if w.rng.IntN(3) == 0 {
			w.crash()
		}
	case 9:
		c.retry(nil)
	default:
		w.write()
	}
}

// end ends one flight: it has arrived and is acknowledged, or only the one, or is
// refused.
func (w *orderWorld) end(how int) {
	if len(w.flying) == 0 {
		return
	}
	i := w.rng.IntN(len(w.flying))
	f := w.flying[i]
	w.flying = slices.Delete(w.flying, i, i+1)
	arrive, missing := w.deliver(f)
	switch {
	case missing:
		w.note("%s is not here", f.key)
		w.changes.drop(!w.changes.superseded(f.key), f)
	case how == 0:
		w.note("%s is lost on its way", f.key)
		w.changes.back(f)
	case how == 1:
		w.note("%s arrives, and the answer is lost", f.key)
		arrive()
		w.changes.back(f)
	case how == 2 && w.rng.IntN(4) == 0:
		w.note("%s is refused", f.key)
		w.changes.die(f, errGone)
	default:
		w.note("%s lands", f.key)
		arrive()
		w.changes.land(f)
	}
}

// tidy removes marks, as the journal's keeper does.
func (w *orderWorld) tidy() {
	keys, _ := w.changes.tidy(10)
	for _, key := range keys {
		mark, ok := w.changes.settled(key)
		switch {
		case !ok:
		case mark != "":
			w.journal[key] = mark
		default:
			delete(w.journal, key)
		}
	}
}

// crash ends the server. What flies may still arrive. The next one reads the journal,
// in any order, while clients write.
func (w *orderWorld) crash() {
	w.note("crash")
	for _, f := range w.flying {
		if arrive, missing := w.deliver(f); !missing && w.rng.IntN(2) == 0 {
			w.note("%s arrives", f.key)
			arrive()
		}
	}
	w.start()
	for key, mark := range maps.Clone(w.journal) { // the order of a map is random enough
		if w.rng.IntN(3) == 0 {
			w.write()
		}
		if w.journal[key] == mark {
			w.changes.recovered(key, mark)
		}
	}
	w.changes.allRead()
}

// check ends all faults and compares.
func (w *orderWorld) check() error {
	for _, key := range w.held {
		w.changes.release(key)
	}
	w.changes.retry(nil)
	for range 1000 {
		w.flying = append(w.flying, w.changes.fly(10, 1<<20)...)
		if len(w.flying) == 0 {
			break
		}
		w.end(3)
	}
	w.tidy()
	for _, key := range orderKeys {
		if here, there := w.here[key], w.there[key]; !maps.Equal(here, there) {
			return fmt.Errorf("%s is %v here, and %v on the remote", key, here, there)
		}
	}
	b := w.changes.backlog()
	if b.keys != 0 || b.bytes != 0 || b.deadLetters != 0 || len(w.journal) != 0 {
		return fmt.Errorf("%+v is left, and in the journal %q", b, w.journal)
	}
	if w.changes.order.Len() != 0 || len(w.changes.keys) != 0 {
		return fmt.Errorf("%d changes and %d keys are left", w.changes.order.Len(), len(w.changes.keys))
	}
	return nil
}

// TestOrder is the order of changes, journal and acknowledgements by the thousand: every
// step may be the last before a crash.
func TestOrder(t *testing.T) {
	const seeds, steps, workers = 20_000, 60, 4
	var work sync.WaitGroup
	for n := range uint64(workers) {
		work.Go(func() {
			for seed := n; seed < seeds && !t.Failed(); seed += workers {
				w := newOrderWorld(seed)
				w.changes.allRead()
				for range steps {
					w.step()
				}
				if err := w.check(); err != nil {
					t.Errorf("seed %d: %v\n%s", seed, err, strings.Join(w.history, "\n"))
				}
			}
		})
	}
	work.Wait()
}
