package replication

import (
	"maps"
	"slices"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

// remoteStageTTL is how long a value that is being put together on the remote
// outlives a crash, in milliseconds.
const remoteStageTTL = "600000"

// sendLargeChanges sends values that are read page by page, one after the other.
func (s *session) sendLargeChanges() {
	pauses := sendPauses()
	for {
		select {
		case <-s.ctx.Done():
			return
		case f := <-s.large:
			func() {
				defer s.changes.back(f) // unless it has ended
				s.rest(pauses, s.sendLarge(&letter{flight: f}))
			}()
		}
	}
}

// sendLarge sends the value of l page by page, and tells how that has ended, unless
// it may be tried again.
func (s *session) sendLarge(l *letter) error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	v := largeValue{session: s, client: client, key: l.key, by: s.stager(byChange), letter: l}
	if err := v.send(); err != nil {
		return err
	}
	switch {
	case v.refused != nil:
		l.refused = v.refused
	case v.torn && !s.changes.superseded(l.key):
		return keyError("send", l.key, errReplacedMeanwhile)
	case v.left:
		return nil // it is decided anew
	case v.torn, v.gone:
		s.missing(l)
		return nil
	}
	l.whole = &wholeValue{}
	return s.delivered(l)
}

// A largeValue is one on its way to the remote, page by page: into a stage, which
// then takes the key's place. What may be a part of the value only is added to what
// is there.
type largeValue struct {
	session *session
	client  *remote.Client
	key     string
	by      stager
	letter  *letter // nil: no change wants it

	// Found when the first page is read.
	kind    *kind
	pager   pager
	stub    *stub           // nil: all of it is here
	missing map[string]bool // those that were removed, or not seen yet
	added   []string        // items of a stub that are not here any more

	begun           bool   // the remote has had the first commands
	target          string // the stage, or the key
	elements, bytes int64  // sent

	// How it has ended, if not well.
	gone    bool  // the key is not here any more
	left    bool  // its owner is no sponsor any more
	torn    bool  // it has become another one while it was read
	refused error // by the remote
}

// send sends the value. An error means that it may be tried again.
func (v *largeValue) send() error {
	watch := v.session.paging.begin(v.key)
	defer v.session.paging.end(watch)
	err := inSlices(v.session.ctx, v.session.local,
		func(d Data) (bool, error) { return v.read(d, watch) },
		func() error {
			if v.gone || v.torn {
				return nil
			}
			return v.sendPage(v.pager.take())
		})
	if err == nil && !v.gone && !v.torn && v.refused == nil {
		err = v.finish()
	}
	if v.torn {
		v.session.changes.torn(v.key)
	}
	if v.begun && !v.merging() && (err != nil || v.gone || v.torn || v.refused != nil) {
		// Without this it would go by its expiry, which takes a while.
		_ = v.client.Exec(v.session.ctx, remote.NewCommand("UNLINK", v.target))
	}
	if v.refused != nil {
		return nil
	}
	return err
}

// read reads the next page.
func (v *largeValue) read(d Data, watch *watch) (done bool, err error) {
	stat := d.Stat(v.key)
	if v.kind == nil {
		if v.kind = kinds[stat.Type]; v.kind != nil {
			v.begin(d, stat, watch)
		}
	}
	if !v.session.travelsNow(d, v.key) {
		v.gone, v.left = true, true
		return true, nil
	}
	if v.kind == nil || stat.Type != v.kind.name || watch.broken() {
		v.gone = stat.Type == typeNone
		v.torn = !v.gone
		return true, nil
	}
	return v.pager.read(d, stat)
}

// begin decides how to read and to send, before the first page.
func (v *largeValue) begin(d Data, stat Stat, watch *watch) {
	v.pager = newPager(v.key, v.kind, stat, memoryUsage(d, v.key))
	if !v.kind.walk.steady() {
		watch.beStrict()
		if v.session.changes.tornOften(v.key) {
			v.pager.count = wholeValues // it takes its time, once
		}
	}
	v.target = v.by.stage(v.key)
	if v.stub = v.session.changes.stubOf(v.key); v.stub != nil && v.kind.merges() {
		touched, _, _ := v.session.changes.touched(v.key)
		v.missing = make(map[string]bool, len(touched))
		for _, name := range touched {
			v.missing[name] = true
		}
		if v.letter != nil {
			added, removed := v.letter.states(touched)
			for _, name := range removed {
				v.missing[name] = true
			}
			v.added = added
		}
		v.target = v.key
	}
}

// merging reports whether pages are added to the key itself.
func (v *largeValue) merging() bool { return v.target == v.key }

func (v *largeValue) sendPage(items []string) error {
	fault.Point("large-page")
	var cmds commands
	if !v.begun {
		v.begun = true
		switch {
		case !v.merging():
			cmds.add(v, command{"UNLINK", v.target})
		case v.letter != nil:
			v.session.askWhetherThere(v.letter, &cmds)
			if v.letter.Cleared {
				cmds.add(v, command{"UNLINK", v.key}) // what was there before that
			}
		}
	}
	if v.merging() {
		for _, name := range v.kind.names(items) {
			delete(v.missing, name)
		}
	}
	cmds.add(v, v.kind.adds(v.target, items)...)
	if !v.merging() {
		cmds.add(v, command{"PEXPIRE", v.target, remoteStageTTL})
	}
	v.elements += int64(v.kind.elements(items))
	for _, item := range items {
		v.bytes += int64(len(item))
	}
	return v.exec(cmds)
}

// finish makes what was sent count.
func (v *largeValue) finish() error {
	var travels bool
	if err := v.session.local.Do(func(d Data) { travels = v.session.travelsNow(d, v.key) }); err != nil {
		return err
	}
	if !travels {
		v.gone, v.left = true, true
		return nil
	}
	var last []command
	switch {
	case v.merging():
		last = append(v.kind.adds(v.key, v.added), v.kind.removes(v.key, slices.Collect(maps.Keys(v.missing)))...)
		if v.pager.expireAt != 0 {
			last = append(last, expiryCommand(v.key, v.pager.expireAt))
		}
	case v.stub != nil:
		values, err := fetchOnce(v.session.ctx, v.client, []string{v.target, v.key})
		if err != nil {
			return err
		}
		ours, theirs := values[0], values[1]
		if ours.err != nil {
			return ours.err
		}
		ours.key = v.key
		disputed, err := v.session.disputed(v.stub, ours, theirs)
		if err != nil {
			return err
		}
		if disputed {
			v.refused = keyError("send", v.key, errDisputed)
			return nil
		}
		fallthrough
	default:
		last = takePlace(v.target, v.key, v.pager.expireAt)
	}
	var cmds commands
	cmds.add(v, last...)
	return v.exec(cmds)
}

// exec runs commands on the remote. What it refuses ends the sending.
func (v *largeValue) exec(cmds commands) error {
	if err := cmds.exec(v.session.ctx, v.client); err != nil {
		return err
	}
	return v.refused
}

func (v *largeValue) refuse(operation string, err error) {
	if v.refused == nil {
		v.refused = keyError(operation, v.key, err)
	}
}
