package replication

import "sync"

// maxDeletions bounds the memory for deletions, to some ten megabytes.
const maxDeletions = 1 << 16

// deletions are the keys that a command has removed here, and that must not
// come back from the remote, whose copy is older. They are forgotten when the
// key is written again, when the data set becomes another one, and when the
// server ends; and one at random if there are too many. It may be used
// concurrently.
type deletions struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

func newDeletions() *deletions {
	d := new(deletions)
	d.forgetAll()
	return d
}

func (d *deletions) add(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.keys) >= maxDeletions {
		for old := range d.keys {
			delete(d.keys, old)
			break
		}
	}
	d.keys[key] = struct{}{}
}

func (d *deletions) forget(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.keys, key)
}

func (d *deletions) forgetAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys = make(map[string]struct{})
}

func (d *deletions) has(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.keys[key]
	return ok
}
