package replication

import "sync"

// A pageWatch tells whether a key that is being read page by page is still the
// same one: a cursor says nothing when the key is removed, or removed and written
// anew, between two pages. It watches one key at a time. It may be used
// concurrently.
type pageWatch struct {
	mu     sync.Mutex
	key    string
	active bool
	broken bool
}

// begin watches key from now on, and no other.
func (w *pageWatch) begin(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.key, w.active, w.broken = key, true, false
}

// end ends the watch, and reports whether the key was the same all the time.
func (w *pageWatch) end() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = false
	return !w.broken
}

func (w *pageWatch) keyEvent(event KeyEvent, key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.active && key == w.key && (event == Deleted || event == Replaced || event == Lost) {
		w.broken = true
	}
}
