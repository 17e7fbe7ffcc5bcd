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
	err   error     // for failed: what to tell those who want the key; else why a fetch has ended
	fetch int       // for onItsWay: which fetch it is
	wait  *fetching // for onItsWay
	stale bool      // for onItsWay: something has happened to the key since
}

// A fetching is a fetch that is under way, for those who wait for it.
type fetching struct {
	done chan struct{} // closed when it has ended
	err  error         // why nothing could be brought back; valid then
}

type absenceState int

const (
	unknown  absenceState = iota // the zero state, which is not stored
	onItsWay                     // being fetched
	absent                       // the remote does not have it, or nothing that is not here or removed here; believed for a while
	failed                       // it could not be fetched; not tried again for a while
)

func newResidency(deleted *deletions) *residency {
	return &residency{deleted: deleted, keys: make(map[string]absence)}
}

// set notes what is known of key. The caller holds r.mu.
func (r *residency) set(key string, now absence) {
	switch old := r.keys[key]; old.state {
	case absent, failed:
		r.quiet--
	case onItsWay:
		old.wait.err = now.err
		close(old.wait.done)
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
		if known.state != onItsWay {
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
	fetched := r.keys[key].state == onItsWay
	if fetched {
		known := r.keys[key]
		known.stale = true
		r.keys[key] = known
	}
	switch event {
	case Deleted:
		if replicated || fetched {
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
		if !fetched { // else what is here will be merged
			r.set(key, absence{})
		}
	}
}

// want tells whether the remote is to be asked for key, which is onItsWay from now on
// then, until settle; and if not, what is known of it. wait is the fetch that is under way,
// perhaps somebody else's.
func (r *residency) want(key string) (m miss, wait *fetching, ask bool, known absence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known = r.keys[key]
	switch {
	case r.deleted.has(key):
		return miss{}, nil, false, absence{}
	case known.state == onItsWay:
		return miss{}, known.wait, false, known
	case known.state != unknown && time.Now().Before(known.until):
		return miss{}, nil, false, known
	}
	r.fetch++
	wait = &fetching{done: make(chan struct{})}
	r.set(key, absence{state: onItsWay, fetch: r.fetch, wait: wait})
	return miss{key: key, fetch: r.fetch}, wait, true, absence{}
}

// quietUntil reports whether there is no point in asking the remote for key, and until
// when; zero: until something happens to it.
func (r *residency) quietUntil(key string) (quiet bool, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted.has(key) {
		return true, time.Time{}
	}
	known := r.keys[key]
	if known.state == absent {
		return time.Now().Before(known.until), known.until
	}
	return false, time.Time{}
}

// foundAbsent reports whether the remote did not have key when it was asked last, and
// nothing has happened to the key since.
func (r *residency) foundAbsent(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.keys[key].state
	return r.deleted.has(key) || state == absent || state == failed
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
	return known.state == onItsWay && known.fetch == m.fetch
}

// settle notes how a fetch has ended, unless something else has ended it before.
func (r *residency) settle(m miss, now absence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.keys[m.key]
	if known.state != onItsWay || known.fetch != m.fetch {
		return
	}
	if known.stale && now.state != unknown {
		now = absence{err: errAgain} // it may not be true any more
	}
	r.set(m.key, now)
}
