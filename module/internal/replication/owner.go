package replication

import (
	"slices"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// ownedBy are the keys of owner that templates name by themselves, and those
// templates for which a server has to be asked.
func ownedBy(owner string, templates ...keyspace.Templates) (keys []string, wild keyspace.Templates) {
	for _, ts := range templates {
		for _, t := range ts {
			switch {
			case !t.Owned():
			case t.Wildcard():
				wild = append(wild, t)
			default:
				// Not every key that a template makes of an id is theirs.
				if whose, ok := t.Match(t.Key(owner)); ok && whose == owner {
					keys = append(keys, t.Key(owner))
				}
			}
		}
	}
	return keys, wild
}

// listHere lists the keys of owner under templates on this server.
func (s *session) listHere(owner string, templates keyspace.Templates) (keys []string, err error) {
	for _, t := range templates {
		err := scanHere(s.ctx, s.local, t.Glob(owner), func(page []string) {
			keys = append(keys, ofOwner(t, owner, page)...)
		})
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// listThere lists them on the remote.
func (s *session) listThere(client *remote.Client, owner string, templates keyspace.Templates) (keys []string, err error) {
	for _, t := range templates {
		err := client.Scan(s.ctx, t.Glob(owner), func(page []string) error {
			keys = append(keys, ofOwner(t, owner, page)...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// ofOwner are those of keys that are owner's by t: a glob matches others too.
func ofOwner(t keyspace.Template, owner string, keys []string) (theirs []string) {
	for _, key := range keys {
		if whose, ok := t.Match(key); ok && whose == owner {
			theirs = append(theirs, key)
		}
	}
	return theirs
}

// exist tells which of keys the remote has.
func (s *session) exist(client *remote.Client, keys []string) (there []string, err error) {
	for batch := range slices.Chunk(keys, existsBatch) {
		cmds := make([]*remote.Command, len(batch))
		for i, key := range batch {
			cmds[i] = remote.NewCommand("EXISTS", key)
		}
		if err := client.Exec(s.ctx, cmds...); err != nil {
			return nil, err
		}
		for i, cmd := range cmds {
			if exists, err := cmd.Int64(); err != nil || exists > 0 {
				there = append(there, batch[i])
			}
		}
	}
	return there, nil
}

// existsBatch is how many keys the remote is asked for at a time.
const existsBatch = 1000
