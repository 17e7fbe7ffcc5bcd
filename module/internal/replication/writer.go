package replication

import (
	"context"
	"hash/maphash"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

const (
	shards     = 4         // pipelines that write at the same time
	batchKeys  = 256       // a batch is sent when it has so many chunks,
	batchBytes = 256 << 10 // or so many bytes
)

// A writer writes chunks to the remote, over several connections. All chunks of
// a key go one way, so that they arrive in order.
type writer struct {
	session *session
	run     *SyncRun
	client  *remote.Client
	ctx     context.Context
	cancel  context.CancelCauseFunc

	seed    maphash.Seed
	batches [shards]batch
	queues  [shards]chan batch
	work    sync.WaitGroup
	buffer  *semaphore.Weighted // bytes on their way
	limit   int64
}

type batch struct {
	chunks []chunk
	bytes  int64
}

func newWriter(s *session, run *SyncRun, client *remote.Client) *writer {
	ctx, cancel := context.WithCancelCause(s.ctx)
	limit := s.tuning.Load().BufferLimit
	w := &writer{
		session: s, run: run, client: client, ctx: ctx, cancel: cancel,
		seed: maphash.MakeSeed(), buffer: semaphore.NewWeighted(limit), limit: limit,
	}
	for i := range w.queues {
		w.queues[i] = make(chan batch, 1)
		w.work.Go(func() {
			err := guard("writer", func() error { return w.drain(w.queues[i]) })
			if err != nil {
				w.cancel(err)
			}
		})
	}
	return w
}

// write takes chunks, and waits if too much is on its way.
func (w *writer) write(chunks []chunk) error {
	for _, c := range chunks {
		shard := int(maphash.String(w.seed, c.of.key) % shards)
		b := &w.batches[shard]
		b.chunks = append(b.chunks, c)
		b.bytes += c.size()
		if len(b.chunks) >= batchKeys || b.bytes >= batchBytes {
			if err := w.send(shard); err != nil {
				return err
			}
		}
	}
	return nil
}

// size is about how much memory c needs.
func (c chunk) size() int64 {
	n := int64(len(c.reply))
	for _, item := range c.items {
		n += int64(len(item))
	}
	return n + 64
}

func (w *writer) send(shard int) error {
	b := w.batches[shard]
	if len(b.chunks) == 0 {
		return nil
	}
	w.batches[shard] = batch{}
	b.bytes = min(b.bytes, w.limit) // one value may be larger than all the room
	if err := w.buffer.Acquire(w.ctx, b.bytes); err != nil {
		return context.Cause(w.ctx)
	}
	select {
	case w.queues[shard] <- b:
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// close sends what is left, unless reading has failed with err, waits for the
// remote, and returns why the run has failed, if it has.
func (w *writer) close(err error) error {
	for shard := range w.queues {
		if err == nil {
			err = w.send(shard)
		}
	}
	if err != nil {
		w.cancel(err)
	}
	for _, q := range w.queues {
		close(q)
	}
	w.work.Wait()
	err = context.Cause(w.ctx)
	w.cancel(nil)
	return err
}

func (w *writer) drain(queue chan batch) error {
	for b := range queue {
		err := w.deliver(b)
		w.buffer.Release(b.bytes)
		if err != nil {
			return err
		}
	}
	return nil
}

// deliver sends a batch until the remote has answered every command of it. To
// send it twice does no harm.
func (w *writer) deliver(b batch) error {
	for i := range b.chunks {
		b.chunks[i].unpack()
	}
	err := persist(w.ctx, patience, func() error { return w.attempt(b) })
	if err != nil {
		return err
	}
	for i := range b.chunks {
		c := &b.chunks[i]
		c.settle(w.run)
		if c.last && c.of.refused == nil {
			w.session.count.acknowledged.Add(1)
		}
	}
	return nil
}

// attempt sends a batch once: the elements, then the expiries of those keys whose
// elements the remote has taken, and stages take their places. What the remote
// refuses is a fault of that key alone.
func (w *writer) attempt(b batch) error {
	if err := w.leaveOut(b); err != nil {
		return err
	}
	var adds, last commands
	for i := range b.chunks {
		c := &b.chunks[i]
		if c.of.left {
			continue
		}
		build, finish := c.commands(w.run.stager())
		adds.add(c.of, build...)
		c.finish = finish
	}
	if err := adds.exec(w.ctx, w.client); err != nil {
		return err
	}
	for i := range b.chunks {
		c := &b.chunks[i]
		if c.last && c.err == nil && c.of.refused == nil {
			last.add(c.of, c.finish...)
		}
	}
	return last.exec(w.ctx, w.client)
}

// leaveOut notes which keys of b do not travel any more: after they were read, their
// owners have stopped sponsoring.
func (w *writer) leaveOut(b batch) error {
	var doubtful []*copying
	for i := range b.chunks {
		if of := b.chunks[i].of; !w.session.travels(of.key) {
			doubtful = append(doubtful, of)
		}
	}
	if len(doubtful) == 0 {
		return nil
	}
	return eachInSlices(w.ctx, w.session.local, doubtful, func(d Data, of *copying) error {
		if !w.session.travelsNow(d, of.key) {
			of.left = true
			of.refuse("copy", errLeft)
		}
		return nil
	})
}

// commands are what brings c to the remote, and what comes after its key's other
// chunks, if the remote has taken them.
func (c *chunk) commands(by stager) (build, finish []command) {
	if c.whole {
		v := wholeValue{kind: c.of.kind, items: c.items, expireAt: c.expireAt}
		return v.commands(c.of.key, by)
	}
	return c.of.kind.adds(c.of.key, c.items), []command{expiryCommand(c.of.key, c.expireAt)}
}
