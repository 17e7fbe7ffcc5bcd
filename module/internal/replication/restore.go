package replication

import (
	"context"
	"errors"
	"strconv"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// stageTTL is how long a staged value outlives a crash, in milliseconds.
const stageTTL = "60000"

// mergeItems is how many strings are merged at a time: a hash takes them field by
// field.
const mergeItems = 400

// restoreTries is how often a large value is put together anew, because it was
// lost on the way: evicted, flushed, swapped.
const restoreTries = 3

var errLostOnTheWay = errors.New("it was evicted, flushed or removed while it was being put together")

// stageKey is where the value of key is put together before it appears.
func stageKey(key string) string { return keyspace.OwnPrefix + "stage:{" + key + "}" }

// restore puts v back into the local data set, complete from the first moment
// on. What was written under the key meanwhile stays, and is merged. If wanted
// says, while the data set is ours, that the key is not wanted any more, nothing
// is done. flying is the change to the key that was on its way when v was read,
// if there was one: it may be missing in v. It tells whether the value is here now by its doing.
func (s *session) restore(ctx context.Context, v value, flying *change, wanted func() bool) (installed bool, err error) {
	fault.Point("restore")
	for range restoreTries {
		r := restoration{session: s, value: v, flying: flying, stage: stageKey(v.key), wanted: wanted}
		if installed, err = r.run(ctx); !errors.Is(err, errLostOnTheWay) {
			break
		}
	}
	return installed, err
}

// A restoration is one try to put a value back. A small one is written in one go;
// a large one in parts: into a key of ours, which is renamed when it is complete,
// or into the key itself, if somebody has written it.
type restoration struct {
	session *session
	value   value
	flying  *change
	stage   string
	wanted  func() bool
	apart   bool // it stays in the stage
	ready   bool // what is on its way was put on top of value

	done      int  // items staged
	length    int  // of the value that they make
	merged    int  // items merged into the key
	merging   bool // merging has begun
	installed bool
}

func (r *restoration) run(ctx context.Context) (bool, error) {
	err := inSlices(ctx, r.session.local, r.step, nil)
	if err != nil && r.done > 0 {
		// Without this it would go by its expiry.
		_ = r.session.local.Do(func(d Data) { _ = write(d, "UNLINK", r.stage) })
	}
	return r.installed, err
}

func (r *restoration) step(d Data) (done bool, err error) {
	if !r.ready {
		key := r.value.key
		r.session.changes.readMark(key, func() string { return readMark(d, key) })
		r.value.overlay(r.session.changes.onItsWay(key, r.flying))
		r.ready = true
	}
	v := r.value
	here := d.Stat(v.key)
	switch {
	case !r.wanted(), here.Type != typeNone && here.Type != v.kind.name:
		return true, r.drop(d) // what people have written here is newer
	case here.Type != typeNone && r.session.config.WriteBehind && !r.session.changes.isStub(v.key):
		return true, r.drop(d) // all of it is here, and what is missing was removed
	case len(v.items) == 0:
		return true, r.drop(d) // all of it has been removed here
	case here.Type != typeNone && r.apart:
		return true, r.drop(d)
	case here.Type != typeNone && !v.kind.merges():
		return true, r.drop(d) // it is for the change to say which counts
	case here.Type != typeNone:
		return r.mergeSome(d, here)
	case r.merging:
		return false, keyError("merge", v.key, errLostOnTheWay)
	case r.done == 0 && !r.apart && v.kind.part(v.items) == len(v.items):
		if err := writeAll(d, v.kind.adds(v.key, v.items)); err != nil {
			return false, err
		}
		return true, r.finish(d)
	case r.done == 0:
		// A crash may have left a part of an older value.
		if err := write(d, "UNLINK", r.stage); err != nil {
			return false, err
		}
		return false, r.stageSome(d)
	case d.Stat(r.stage).Length != r.length:
		return false, keyError("restore", v.key, errLostOnTheWay)
	case r.done < len(v.items):
		return false, r.stageSome(d)
	case r.apart:
		return true, nil
	}
	if err := write(d, "RENAME", r.stage, v.key); err != nil {
		return false, err
	}
	return true, r.finish(d)
}

// stageSome adds a part to the stage.
func (r *restoration) stageSome(d Data) error {
	n := r.value.kind.part(r.value.items[r.done:])
	some := r.value.items[r.done : r.done+n]
	if err := writeAll(d, r.value.kind.adds(r.stage, some)); err != nil {
		return err
	}
	r.done += n
	r.length += r.value.kind.length(some)
	return write(d, "PEXPIRE", r.stage, stageTTL)
}

// mergeSome adds a part to the key, which somebody has written.
func (r *restoration) mergeSome(d Data, here Stat) (done bool, err error) {
	r.merging = true
	rest := r.value.items[r.merged:]
	n := min(r.value.kind.part(rest), mergeItems)
	if items := r.foreign(rest[:n]); len(items) > 0 {
		if err := r.value.kind.merge(d, r.value.key, items); err != nil {
			return false, err
		}
	}
	if r.merged += n; r.merged < len(r.value.items) {
		return false, nil
	}
	if at := r.value.expireAt; !at.IsZero() && here.ExpireAt.IsZero() {
		if err := write(d, "PEXPIREAT", r.value.key, strconv.FormatInt(at.UnixMilli(), 10)); err != nil {
			return false, err
		}
	}
	r.complete()
	return true, r.drop(d)
}

// complete notes that all of the value is here.
func (r *restoration) complete() {
	r.installed = true
	r.session.changes.completed(r.value.key)
}

// foreign drops the elements of items of which this server knows better than the
// remote.
func (r *restoration) foreign(items []string) []string {
	width := r.value.kind.width
	kept := make([]string, 0, len(items))
	for i := 0; i < len(items); i += width {
		if !r.session.changes.knows(r.value.key, items[i]) {
			kept = append(kept, items[i:i+width]...)
		}
	}
	return kept
}

// finish gives the key, which was not here before, its expiry. A stage has one
// of its own.
func (r *restoration) finish(d Data) error {
	r.complete()
	if at := r.value.expireAt; !at.IsZero() {
		return write(d, "PEXPIREAT", r.value.key, strconv.FormatInt(at.UnixMilli(), 10))
	}
	if r.done > 0 {
		return write(d, "PERSIST", r.value.key)
	}
	return nil
}

// drop removes the stage, if there is one.
func (r *restoration) drop(d Data) error {
	if r.done == 0 {
		return nil
	}
	r.done = 0
	return write(d, "UNLINK", r.stage)
}
