package replication

import (
	"sync"
	"time"
)

// maxQuiet is how many keys are remembered that need not be asked for.
const maxQuiet = 1 << 16

// residency is what is known of keys that are not here. It may be used
// concurrently.
type residency struct {
	deleted *deletions

	mu    sync.Mutex
	fetch int // the last that was begun
	keys  map[string]absence
	quiet int // how many of keys are absent or failed
}

// absence is what is known of one key that is not here.
type absence struct {
	state absenceState
	until time.Time // for absent and failed
	fetch int       // for fetching: which fetch it is
}

type absenceState int

const (
	unknown  absenceState = iota // the zero state, which is not stored
	fetching                     // on its way
	absent                       // the remote does not have it, believed for a while
	failed                       // it could not be fetched; not tried again for a while
)

func newResidency(deleted *deletions) *residency {
	return &residency{deleted: deleted, keys: make(map[string]absence)}
}

// set notes what is known of key. The caller holds r.mu.
func (r *residency) set(key string, now absence) {
	if old := r.keys[key].state; old == absent || old == failed {
		r.quiet--
	}
	delete(r.keys, key)
	switch now.state {
	case unknown:
		return
	case absent, failed:
		if r.quiet >= maxQuiet {
			r.forgetOne()
		}
		r.quiet++
	}
	r.keys[key] = now
}

// forgetOne forgets a key that is absent or failed: asking again does no harm.
// The caller holds r.mu.
func (r *residency) forgetOne() {
	for key, known := range r.keys {
		if known.state != fetching {
			delete(r.keys, key)
			r.quiet--
			return
		}
	}
}

// changed is told of the events of managed keys but misses. replicated tells
// whether the key's owner is a sponsor.
func (r *residency) changed(event KeyEvent, key string, replicated bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	onItsWay := r.keys[key].state == fetching
	switch event {
	case Deleted:
		if replicated || onItsWay {
			r.deleted.add(key)
		}
		r.set(key, absence{}) // also if it was on its way
	case Replaced:
		r.deleted.forget(key)
		r.set(key, absence{}) // what is on its way is older
	case Created, ExpirySet:
	case Written, Evicted, Expired, Emptied:
		if event == Written {
			r.deleted.forget(key)
		}
		if !onItsWay { // else what is here will be merged
			r.set(key, absence{})
		}
	}
}

// missed tells whether there is a point in asking the remote for key, and if not,
// whether that is because it is known to be absent. If there is, the key is
// fetching from now on, until settle.
func (r *residency) missed(key string) (m miss, ask, knownAbsent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.keys[key]
	switch {
	case known.state == fetching || r.deleted.has(key):
		return miss{}, false, false
	case known.state != unknown && time.Now().Before(known.until):
		return miss{}, false, known.state == absent
	}
	r.fetch++
	r.set(key, absence{state: fetching, fetch: r.fetch})
	return miss{key, r.fetch}, true, false
}

// knownAbsent reports whether it is certain that the remote does not have key.
func (r *residency) knownAbsent(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.keys[key]
	return r.deleted.has(key) || known.state == absent && time.Now().Before(known.until)
}

// fetching reports whether what m fetches is still to be brought back.
func (r *residency) fetching(m miss) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.keys[m.key]
	return known.state == fetching && known.fetch == m.fetch
}

// settle notes how a fetch has ended, unless something else has ended it before.
func (r *residency) settle(m miss, now absence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.keys[m.key]; known.state == fetching && known.fetch == m.fetch {
		r.set(m.key, now)
	}
}
