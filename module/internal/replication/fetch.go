package replication

import (
	"context"
	"errors"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

var (
	errShape           = errors.New("the remote's answer has an unknown shape")
	errChangedOnRemote = errors.New("the remote's value changed while it was being read")
)

// A value is what the remote has of a key.
type value struct {
	key      string
	kind     *kind // nil: nothing
	items    []string
	expireAt time.Time // zero: never
	err      error     // the value could not be had; others could
}

// expect makes v, which the remote does not have, what it will have when m has
// arrived there.
func (v *value) expect(m journal.Mark) {
	for _, element := range m.Elements {
		if element.Present {
			v.kind = kindOf(m.Kind)
		}
	}
}

// overlay puts states that are on their way to the remote on top of v, which was
// read before they have arrived.
func (v *value) overlay(m journal.Mark) {
	if m.Base == journal.Deleted {
		v.items = nil
	}
	if m.HasExpiry {
		v.expireAt = time.Time{}
		if m.ExpireAt != 0 {
			v.expireAt = time.UnixMilli(m.ExpireAt)
		}
	}
	if len(m.Elements) == 0 || kindOf(m.Kind) != v.kind {
		return
	}
	width := v.kind.width
	items := make([]string, 0, len(v.items))
	for i := 0; i < len(v.items); i += width {
		if _, ok := m.Elements[v.items[i]]; !ok {
			items = append(items, v.items[i:i+width]...)
		}
	}
	for name, element := range m.Elements {
		if element.Present {
			items = append(items, name)
			if width == 2 {
				items = append(items, element.Value)
			}
		}
	}
	v.items = items
}

// fetch reads keys from the remote, whole and without repetitions. An error means
// that none could be read.
func (s *session) fetch(ctx context.Context, keys []string) ([]value, error) {
	client, err := s.link.get()
	if err != nil {
		return nil, err
	}
	var values []value
	err = persist(ctx, patienceAtStart, func() error {
		values, err = guesses(s.guess).fetch(ctx, client, keys)
		return err
	})
	for _, v := range values {
		if t, ok := s.template(v.key); ok && v.kind != nil {
			s.kinds.Store(t, v.kind)
		}
	}
	return values, err
}

// guess is the kind of the value that was fetched last by key's template.
func (s *session) guess(key string) *kind {
	t, ok := s.template(key)
	if !ok {
		return nil
	}
	if k, ok := s.kinds.Load(t); ok {
		return k.(*kind) //nolint:forcetypeassert // nothing else is stored
	}
	return nil
}

// template is the one that key is replicated by.
func (s *session) template(key string) (text string, ok bool) {
	for _, templates := range []keyspace.Templates{s.config.Templates, s.config.Unfiltered} {
		for _, t := range templates {
			if _, ok := t.Match(key); ok {
				return t.String(), true
			}
		}
	}
	return "", key == s.config.sponsorsKey()
}

// fetchOnce reads keys from the remote.
func fetchOnce(ctx context.Context, client *remote.Client, keys []string) ([]value, error) {
	return guesses(nil).fetch(ctx, client, keys)
}

// guesses tell what kind of value a key may have, so that it can be read together with its
// type: then one question and answer is enough. nil: there is no guess.
type guesses func(key string) *kind

func (guess guesses) fetch(ctx context.Context, client *remote.Client, keys []string) ([]value, error) {
	var all []*remote.Command
	looks := make([]lookThere, len(keys))
	for i, key := range keys {
		l := &looks[i]
		l.typ, l.expireAt = remote.NewCommand("TYPE", key), remote.NewCommand("PEXPIRETIME", key)
		all = append(all, l.typ, l.expireAt)
		if guess == nil {
			continue
		}
		if l.guess = guess(key); l.guess != nil {
			for _, cmd := range l.guess.walk.commands(key, "", l.guess.pageSize()) {
				l.page = append(l.page, newCommand(cmd))
			}
			all = append(all, l.page...)
		}
	}
	if err := client.Exec(ctx, all...); err != nil {
		return nil, err
	}
	values := make([]value, len(keys))
	first := make(map[*value][]*remote.Command)
	for i, l := range looks {
		values[i] = describe(keys[i], l.typ, l.expireAt)
		if v := &values[i]; v.kind != nil && v.kind == l.guess {
			first[v] = l.page
		}
	}
	return values, readPages(ctx, client, values, first)
}

// A lookThere is what the remote is asked of a key first.
type lookThere struct {
	typ, expireAt *remote.Command
	guess         *kind
	page          []*remote.Command // the first of its value, if that is of the kind guessed
}

// describe makes a value, still without items, of the answers to TYPE and
// PEXPIRETIME.
func describe(key string, typ, expireAt *remote.Command) value {
	v := value{key: key}
	name, err := typ.Text()
	if err != nil {
		v.err = keyError("TYPE", key, err)
		return v
	}
	at, err := expireAt.Int64()
	if err != nil {
		v.err = keyError("PEXPIRETIME", key, err)
		return v
	}
	if at >= 0 {
		v.expireAt = time.UnixMilli(at)
		if !v.expireAt.After(time.Now()) {
			return v
		}
	}
	if name == typeNone {
		return v
	}
	if v.kind = kinds[name]; v.kind == nil {
		v.err = keyError("fetch "+name, key, errTypeCannotTravel)
	}
	return v
}

// readPages reads the items of values, a page of each at a time. The first ones may have
// been asked for already.
func readPages(ctx context.Context, client *remote.Client, values []value, first map[*value][]*remote.Command) error {
	cursors := make(map[*value]string)
	var doubtful []*value // of more than one page, or perhaps not there
	for i := range values {
		if v := &values[i]; v.kind != nil {
			cursors[v] = ""
		}
	}
	take := func(v *value, cursor string, cmds []*remote.Command) {
		items, next, err := v.page(cursor, cmds)
		if err != nil {
			v.err = keyError(cmds[0].Name(), v.key, err)
			next = ""
		}
		v.items = append(v.items, items...)
		if cursors[v] = next; next == "" {
			delete(cursors, v)
		}
		if cursor == "" && (next != "" || len(items) == 1 && items[0] == "") {
			doubtful = append(doubtful, v) // of more than one page; an empty string, or none
		}
	}
	for v, cmds := range first {
		take(v, "", cmds)
	}
	for len(cursors) > 0 {
		var (
			open  []*value
			pages [][]*remote.Command
			all   []*remote.Command
		)
		for v, cursor := range cursors {
			var cmds []*remote.Command
			for _, cmd := range v.kind.walk.commands(v.key, cursor, v.kind.pageSize()) {
				cmds = append(cmds, newCommand(cmd))
			}
			open, pages, all = append(open, v), append(pages, cmds), append(all, cmds...)
		}
		if err := client.Exec(ctx, all...); err != nil {
			return err
		}
		for i, v := range open {
			take(v, cursors[v], pages[i])
		}
	}
	for i := range values {
		if v := &values[i]; v.kind != nil {
			v.items = v.kind.distinct(v.items)
		}
	}
	if err := checkWhole(ctx, client, doubtful); err != nil {
		return err
	}
	for i := range values {
		// Gone between the look and the reading.
		if v := &values[i]; len(v.items) == 0 {
			v.kind = nil
		}
	}
	return nil
}

// checkWhole finds values that were removed, or removed and written anew, while
// they were read page by page: what was read of them is a part.
func checkWhole(ctx context.Context, client *remote.Client, values []*value) error {
	if len(values) == 0 {
		return nil
	}
	counts := make([]*remote.Command, len(values))
	for i, v := range values {
		counts[i] = remote.NewCommand(v.kind.count, v.key)
	}
	if err := client.Exec(ctx, counts...); err != nil {
		return err
	}
	for i, v := range values {
		n, err := counts[i].Int64()
		switch {
		case v.err != nil:
		case err != nil:
			v.err = keyError(v.kind.count, v.key, err)
		case n == 0:
			v.items = nil
		case v.kind.merges() && int64(v.kind.length(v.items)) < n:
			v.err = keyError("fetch", v.key, errChangedOnRemote)
		}
	}
	return nil
}

// page reads the answers to the commands that read a page.
func (v *value) page(cursor string, cmds []*remote.Command) (items []string, next string, err error) {
	replies := make([]any, len(cmds))
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			return nil, "", err
		}
		replies[i] = cmd.Val()
	}
	return v.kind.walk.page(cursor, v.kind.pageSize(), replies)
}
