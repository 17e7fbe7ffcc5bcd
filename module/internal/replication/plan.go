package replication

import (
	"context"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// A planned key may have to be copied, if it exists, and if owner, who is empty
// for what belongs to nobody, is still a sponsor then.
type planned struct{ key, owner string }

// plan lists the keys of owners × templates, owner by owner, then what only a
// look at the whole keyspace can tell, which is needed for templates that end in
// * and for unfiltered ones.
func (s *session) plan(ctx context.Context, run *SyncRun, owners []string) ([]planned, error) {
	everybody := len(run.request.Owners) == 0
	exact, scanned := s.split(everybody)
	keys := make([]planned, 0, 1+len(owners)*len(exact))
	if everybody {
		keys = append(keys, planned{key: s.config.sponsorsKey()})
	}
	for _, owner := range owners {
		for _, t := range exact {
			key := t.Key(owner)
			// Not every member of the set is an id, and not every key that
			// a template makes is somebody's.
			if whose, ok := t.Match(key); t.Owned() && ok && whose == owner {
				keys = append(keys, planned{key, owner})
			}
		}
	}
	for _, t := range exact {
		if !t.Owned() {
			keys = append(keys, planned{key: t.Key("")})
		}
	}
	if len(scanned) == 0 {
		return keys, nil
	}
	is := make(map[string]bool, len(owners))
	for _, owner := range owners {
		is[owner] = true
	}
	return s.scan(ctx, scanned, keys, func(key string) (owner string, wanted bool) {
		if owner, ok := s.config.Templates.Match(key); ok && is[owner] {
			return owner, true
		}
		owner, ok := s.config.Unfiltered.Match(key)
		return "", ok && (everybody || is[owner])
	})
}

// split tells the templates whose keys are known by their owners from those for
// which the keyspace has to be looked through.
func (s *session) split(everybody bool) (exact, scanned keyspace.Templates) {
	for _, t := range s.config.Templates {
		if t.Wildcard() {
			scanned = append(scanned, t)
		} else {
			exact = append(exact, t)
		}
	}
	for _, t := range s.config.Unfiltered {
		switch {
		case !everybody && !t.Owned():
			// belongs to nobody whom the request names
		case t.Wildcard(), everybody && t.Owned():
			scanned = append(scanned, t)
		default:
			exact = append(exact, t)
		}
	}
	return exact, scanned
}

// scan looks through the keyspace for keys of templates that are wanted, and
// adds those that keys does not have yet.
func (s *session) scan(ctx context.Context, templates keyspace.Templates, keys []planned,
	wanted func(key string) (owner string, ok bool),
) ([]planned, error) {
	glob := "*"
	if len(templates) == 1 {
		glob = templates[0].Glob("")
	}
	listed := make(map[string]bool, len(keys))
	for _, p := range keys {
		listed[p.key] = true
	}
	err := scanHere(ctx, s.local, glob, func(page []string) {
		for _, key := range page {
			if owner, ok := wanted(key); ok && !listed[key] {
				listed[key] = true
				keys = append(keys, planned{key, owner})
			}
		}
	})
	return keys, err
}
