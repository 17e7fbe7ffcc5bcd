package replication_test

import (
	"fmt"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// cutOwners are the owners of TestSyncCut, each with one set.
const cutOwners, cutMembers = 60, 30

// TestSyncCut cuts a SYNC's connection at every so many bytes, both ways. The
// connection comes back, and all is there; or the remote stays away until the
// engine gives up, and what was acknowledged is there.
func TestSyncCut(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, ids(cutOwners)...)
	for _, id := range ids(cutOwners) {
		p.add(t, "user:"+id+":mnodes", nodes(cutMembers))
	}
	sent, got := p.proxy.Forwarded()
	p.sync(t)
	sent2, got2 := p.proxy.Forwarded()
	ways := []struct {
		name  string
		cut   func(int64)
		bytes int64
	}{
		{"requests", p.proxy.CutAfter, sent2 - sent},
		{"replies", p.proxy.CutReplyAfter, got2 - got},
	}
	const cuts = 8
	for _, way := range ways {
		for i := range int64(cuts) {
			n := i * way.bytes / cuts
			t.Run(fmt.Sprintf("%s after %d bytes", way.name, n), func(t *testing.T) {
				p.flushRemote(t)
				way.cut(n)
				result := p.sync(t)
				if result.Keys != cutOwners+1 || result.Failed != 0 {
					t.Errorf("SYNC = %+v, want %d keys", result, cutOwners+1)
				}
				p.wantCopied(t, cutOwners)
				if err := p.proxy.Heal(); err != nil { // a SYNC on warm connections may need fewer bytes
					t.Fatal(err)
				}
			})
			t.Run(fmt.Sprintf("%s for good after %d bytes", way.name, n), func(t *testing.T) {
				p.flushRemote(t)
				before := p.engine.Status().Acknowledged
				way.cut(n)
				run, _, err := p.engine.Sync(replication.SyncRequest{})
				if err != nil {
					t.Fatal(err)
				}
				redistest.Eventually(t, soon, func() error {
					if p.proxy.Cutting() && p.engine.Syncing() {
						return fmt.Errorf("no %d bytes have come", n)
					}
					return nil
				})
				p.proxy.Refuse()
				p.engine.SetMaster(false)
				result, err := run.Wait()
				copied := p.wantCopied(t, 0)
				acknowledged := p.engine.Status().Acknowledged - before
				if err == nil && copied != cutOwners {
					t.Errorf("SYNC has no error, and %d of %d sets are there", copied, cutOwners)
				}
				// The set of the sponsors may be one of them.
				if int(result.Keys) > copied+1 || int(acknowledged) > copied+1 {
					t.Errorf("SYNC tells of %d keys, STATUS of %d, and %d sets are there", result.Keys, acknowledged, copied)
				}
				if err := p.proxy.Heal(); err != nil {
					t.Fatal(err)
				}
				p.engine.SetMaster(true)
				p.waitFor(t, replication.StateConnected)
				p.sync(t)
				p.wantCopied(t, cutOwners)
			})
		}
	}
}

// flushRemote empties the remote.
func (p *pair) flushRemote(t *testing.T) {
	t.Helper()
	if err := p.r.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// wantCopied counts the sets of TestSyncCut that are whole on the remote, and
// wants at least so many.
func (p *pair) wantCopied(t *testing.T, want int) int {
	t.Helper()
	copied := 0
	for _, id := range ids(cutOwners) {
		n, err := p.r.SCard(t.Context(), "user:"+id+":mnodes").Result()
		if err != nil {
			t.Fatal(err)
		}
		if n == cutMembers {
			copied++
		}
	}
	if copied < want {
		t.Errorf("%d sets are whole on the remote, want %d", copied, want)
	}
	return copied
}
