package replication

import "github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"

// copyBy is a run of the engine's own, which copies what both sides may have: what
// the remote has of a key beside that is fetched, and merged here.
func (s *session) copyBy(request SyncRequest) (*SyncRun, error) {
	run := s.newRun(request)
	err := s.suspectWhatIsThere(request.Owners)
	if err == nil {
		err = s.sync(run, s.syncs.own)
	}
	s.endRun(run, err)
	return run, err
}

// existsBatch is how many keys the remote is asked for at a time.
const existsBatch = 1000

// suspectWhatIsThere makes stubs of the keys of owners, or of all sponsors, that
// the remote has already.
func (s *session) suspectWhatIsThere(owners []string) error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	if len(owners) == 0 {
		owners = s.sponsors.list()
	}
	exact, _ := s.split(false)
	var keys []string
	for _, owner := range owners {
		for _, t := range exact {
			if t.Owned() {
				keys = append(keys, t.Key(owner))
			}
		}
	}
	for len(keys) > 0 {
		n := min(len(keys), existsBatch)
		cmds := make([]*remote.Command, n)
		for i, key := range keys[:n] {
			cmds[i] = remote.NewCommand("EXISTS", key)
		}
		if err := client.Exec(s.ctx, cmds...); err != nil {
			return err
		}
		var there []string
		for i, cmd := range cmds {
			if exists, err := cmd.Int64(); err != nil || exists > 0 {
				there = append(there, keys[i])
			}
		}
		if err := s.suspect(there); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// suspect makes stubs of those of keys that are here. What is here is known; a large
// value is not taken for a part.
func (s *session) suspect(keys []string) error {
	return inSlices(s.ctx, s.local, func(d Data) (bool, error) {
		if len(keys) == 0 {
			return true, nil
		}
		key := keys[0]
		keys = keys[1:]
		stat := d.Stat(key)
		if kinds[stat.Type] != nil && stat.Length <= partElements {
			s.changes.suspect(key)
			s.touchAll(d, key, stat)
		}
		return false, nil
	}, nil)
}
