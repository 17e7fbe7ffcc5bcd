package replication

import (
	"sync"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// A pager reads a large value page by page.
type pager struct {
	key      string
	kind     *kind
	cursor   string
	count    string // elements of a page
	items    []string
	expireAt int64 // once all is read: unix milliseconds; 0: never
}

func newPager(key string, k *kind, stat Stat, bytes int) pager {
	return pager{key: key, kind: k, cursor: "0", count: pageCount(stat.Length, bytes)}
}

// read reads the next page, and reports whether it was the last.
func (p *pager) read(d Data, stat Stat) (done bool, err error) {
	reply, err := d.Read(p.kind.page, p.key, p.cursor, "COUNT", p.count)
	if err != nil {
		return false, err
	}
	cursor, items, err := resp.Page(reply)
	if err != nil {
		return false, keyError(p.kind.page, p.key, err)
	}
	p.cursor, p.expireAt = cursor, expireAt(stat)
	p.items = append(p.items, items...)
	return cursor == "0", nil
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
	of   *pageWatch
	key  string
	lost bool
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
	if event != Deleted && event != Replaced && event != Evicted && event != Expired && event != Emptied {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.watches {
		if one.key == key {
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
