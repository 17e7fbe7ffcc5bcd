package replication

import (
	"context"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// A copying is a key whose value is on its way to the remote. The writer of its
// shard alone changes it.
type copying struct {
	key  string
	kind *kind

	elements, bytes int64
	refused         error // why it is not, or not wholly, on the remote
	left            bool  // its owner is no sponsor any more: nothing more of it is sent
}

func (c *copying) refuse(operation string, err error) {
	if c.refused == nil {
		c.refused = keyError(operation, c.key, err)
	}
}

// A chunk is a part of a key's value.
type chunk struct {
	of    *copying
	items []string
	reply string // to kind.readAll, if items are still in it
	whole bool   // items take the place of what the remote has

	last     bool  // the key's last
	expireAt int64 // of the last: unix milliseconds; 0: never
	finish   []command
	err      error // of the last: the key could not be read to its end
}

// unpack reads the items out of the reply. It is not done while the data set is
// ours.
func (c *chunk) unpack() {
	if c.reply == "" {
		return
	}
	items, err := c.of.kind.unpack(c.reply)
	c.items, c.reply = items, ""
	if err != nil {
		c.err = keyError("copy "+c.of.kind.name, c.of.key, err)
	}
}

// settle counts a chunk that the remote has, or will not have.
func (c *chunk) settle(run *SyncRun) {
	k := c.of
	if k.refused == nil {
		k.refused = c.err
	}
	k.elements += int64(k.kind.elements(c.items))
	for _, item := range c.items {
		k.bytes += int64(len(item))
	}
	if !c.last {
		return
	}
	run.release(k)
	run.seen.Add(1)
	if k.refused != nil {
		run.failed.Add(1)
		run.report(k.refused)
		return
	}
	run.keys.Add(1)
	run.elements.Add(k.elements)
	run.bytes.Add(k.bytes + int64(len(k.key)))
}

// backfill reads the values that run asks for, and hands them to sink in the
// order in which it has read them. sink may wait; the server does not.
func (s *session) backfill(ctx context.Context, run *SyncRun, sink func([]chunk) error) error {
	owners := run.request.Owners
	if len(owners) == 0 {
		var err error
		if owners, err = s.askSponsors(ctx); err != nil {
			return err
		}
	}
	keys, err := s.plan(ctx, run, owners)
	if err != nil {
		return err
	}
	if run.own && !run.replace {
		if err := s.suspectWhatIsThere(keys); err != nil {
			return err
		}
	}
	run.sponsors.Store(int64(len(owners)))
	run.total.Store(int64(len(keys)))
	r := &reader{session: s, run: run, keys: keys}
	defer func() {
		if r.watch != nil {
			s.paging.end(r.watch)
		}
	}()
	if len(run.request.Owners) > 0 {
		// The remote learns of these people, and of nobody else.
		r.chunks = []chunk{{of: run.set, items: owners, last: true}}
		run.total.Add(1)
	}
	return inSlices(ctx, s.local, r.step, func() error {
		for _, err := range r.skipped {
			run.skipped.Add(1)
			run.seen.Add(1)
			run.report(err)
		}
		chunks := r.chunks
		r.chunks, r.skipped = nil, nil
		return sink(chunks)
	})
}

// A reader reads keys into chunks, one key, or one page of a large one, a step.
type reader struct {
	session *session
	run     *SyncRun
	keys    []planned // still to be read

	// What was read since it was last taken.
	chunks  []chunk
	skipped []error

	large *copying // being read page by page; nil: none
	pager pager
	watch *watch
}

func (r *reader) step(d Data) (done bool, err error) {
	if r.large != nil {
		r.readPage(d)
		return false, nil
	}
	if len(r.keys) == 0 {
		return true, nil
	}
	next := r.keys[0]
	r.keys = r.keys[1:]
	return false, r.readKey(d, next)
}

func (r *reader) readKey(d Data, next planned) error {
	if !r.session.travelsNow(d, next.key) {
		r.run.total.Add(-1) // since the plan was made, somebody has stopped sponsoring
		return nil
	}
	stat := d.Stat(next.key)
	if stat.Type == typeNone {
		r.run.total.Add(-1)
		return nil
	}
	k := kinds[stat.Type]
	if k == nil {
		r.skipped = append(r.skipped, keyError("copy "+stat.Type, next.key, errTypeCannotTravel))
		return nil
	}
	stub := r.session.changes.isStub(next.key)
	c := &copying{key: next.key, kind: k}
	if !k.merges() && stub {
		// It is on its way by itself.
		r.refuse(c, keyError("copy", next.key, errDisputed))
		return nil
	}
	whole := !k.merges() || (r.run.request.Prune || r.run.replace) && !stub
	large, size := isLarge(d, next.key, k, stat)
	r.run.hold(c)
	switch {
	case !large:
		reply, err := k.readAll(d, next.key)
		if err != nil {
			return err
		}
		r.chunks = append(r.chunks, chunk{of: c, reply: reply, whole: whole, last: true, expireAt: expireAt(stat)})
	case whole && !r.run.request.DryRun:
		r.run.large = append(r.run.large, c)
	default:
		r.large = c
		r.pager = newPager(c.key, k, stat, size)
		r.watch = r.session.paging.begin(c.key)
	}
	return nil
}

// refuse has a key counted as one that was not copied.
func (r *reader) refuse(c *copying, err error) {
	if r.run.own {
		r.run.total.Add(-1)
		return
	}
	r.chunks = append(r.chunks, chunk{of: c, last: true, err: err})
}

// isLarge tells whether a value is to be read page by page, and about how many bytes
// it takes.
func isLarge(d Data, key string, k *kind, stat Stat) (large bool, bytes int) {
	bytes = memoryUsage(d, key)
	return bytes > partBytes || stat.Length > partElements && k.name != "string", bytes
}

func (r *reader) readPage(d Data) {
	c := r.large
	stat := d.Stat(c.key)
	done, err := r.pager.read(d, stat)
	items := r.pager.take()
	travels := r.session.travelsNow(d, c.key)
	if !travels {
		items = nil
	} else if err == nil && !done && stat.Type == c.kind.name {
		r.chunks = append(r.chunks, chunk{of: c, items: items})
		return
	}
	last := chunk{of: c, items: items, last: true, expireAt: expireAt(stat)}
	switch {
	case !travels:
		last.err = keyError("copy", c.key, errLeft)
	case r.watch.broken() || stat.Type != c.kind.name:
		last.err = keyError("copy", c.key, errChanged)
	case err != nil:
		last.err = err
	}
	r.chunks = append(r.chunks, last)
	r.session.paging.end(r.watch)
	r.large = nil
}

func expireAt(stat Stat) int64 {
	if stat.ExpireAt.IsZero() {
		return 0
	}
	return stat.ExpireAt.UnixMilli()
}

// memoryUsage is about how many bytes a key takes, without making it look used.
func memoryUsage(d Data, key string) int {
	reply, err := d.Read("MEMORY", "USAGE", key)
	if err != nil {
		return 0
	}
	n, err := resp.Int(reply)
	if err != nil {
		return 0
	}
	return int(n)
}

func isMember(d Data, key, member string) (bool, error) {
	reply, err := d.Read("SISMEMBER", key, member)
	if err != nil {
		return false, err
	}
	n, err := resp.Int(reply)
	if err != nil {
		return false, keyError("SISMEMBER", key, err)
	}
	return n == 1, nil
}
