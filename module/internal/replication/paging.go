package replication

import "sync"

// A pager reads a large value page by page.
type pager struct {
	key      string
	kind     *kind
	cursor   string
	count    int // elements of a page
	items    []string
	expireAt int64 // once all is read: unix milliseconds; 0: never
}

func newPager(key string, k *kind, stat Stat, bytes int) pager {
	return pager{key: key, kind: k, count: k.pageOf(stat.Length, bytes)}
}

// read reads the next page, and reports whether it was the last.
func (p *pager) read(d Data, stat Stat) (done bool, err error) {
	cmds := p.kind.walk.commands(p.key, p.cursor, p.count)
	replies := make([]any, len(cmds))
	for i, cmd := range cmds {
		reply, err := d.Read(cmd[0], cmd[1:]...)
		if err != nil {
			return false, err
		}
		replies[i] = rawReply(reply)
	}
	items, next, err := p.kind.walk.page(p.cursor, p.count, replies)
	if err != nil {
		return false, keyError(cmds[0][0], p.key, err)
	}
	p.cursor, p.expireAt = next, expireAt(stat)
	p.items = append(p.items, items...)
	return next == "", nil
}

// take is what was read since it was last called.
func (p *pager) take() []string {
	items := p.items
	p.items = nil
	return items
}

// A pageWatch tells whether keys that are being read page by page are still the
// same ones: a cursor says nothing when the key is removed, or removed and
// written anew, between two pages. It may be used concurrently.
type pageWatch struct {
	mu      sync.Mutex
	watches map[*watch]struct{}
}

// A watch is of one key, for one reader.
type watch struct {
	of     *pageWatch
	key    string
	strict bool // also a write to it makes it another one
	lost   bool
}

// begin watches key from now on, until end.
func (w *pageWatch) begin(key string) *watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watches == nil {
		w.watches = make(map[*watch]struct{})
	}
	one := &watch{of: w, key: key}
	w.watches[one] = struct{}{}
	return one
}

// beStrict has the watch broken by any write from now on.
func (one *watch) beStrict() {
	one.of.mu.Lock()
	defer one.of.mu.Unlock()
	one.strict = true
}

func (w *pageWatch) end(one *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watches, one)
}

// broken reports whether the key was not the same all the time.
func (one *watch) broken() bool {
	one.of.mu.Lock()
	defer one.of.mu.Unlock()
	return one.lost
}

func (w *pageWatch) keyEvent(event KeyEvent, key string) {
	switch event {
	case Missed, Created, ExpirySet:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.watches {
		if one.key == key && (one.strict || event != Written) {
			one.lost = true
		}
	}
}

// allLost tells that all keys may be others now.
func (w *pageWatch) allLost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.watches {
		one.lost = true
	}
}
