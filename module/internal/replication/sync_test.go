package replication_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
)

func TestSyncCopies(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7", "8")
	p.add(t, "user:7:mnodes", nodes(3))
	p.add(t, "user:8:mnodes", nodes(5000)) // read and written in parts
	p.local.must(t, "HSET", "user_details:7", "id", "7", "email", "\xff\x00\r\n")
	p.local.must(t, "PEXPIREAT", "user_details:7", "4000000000000")
	p.local.must(t, "SET", "user:8", "what no command of Redis's own can read")
	p.local.foreign = "user:8"
	p.add(t, "user:9:mnodes", nodes(3)) // no sponsor's

	got := p.sync(t)
	got.Duration = 0
	want := replication.SyncResult{Sponsors: 2, Keys: 4, Elements: 2 + 3 + 5000 + 2, Bytes: got.Bytes, Skipped: 1}
	if got != want || got.Bytes == 0 {
		t.Errorf("SYNC = %+v, want %+v", got, want)
	}
	p.wantRemoteSet(t, sponsorsKey, []string{"7", "8"})
	p.wantRemoteSet(t, "user:7:mnodes", nodes(3))
	p.wantRemoteSet(t, "user:8:mnodes", nodes(5000))
	if got := p.r.HGet(t.Context(), "user_details:7", "email").Val(); got != "\xff\x00\r\n" {
		t.Errorf("email on the remote = %q", got)
	}
	if got := p.r.Do(t.Context(), "PEXPIRETIME", "user_details:7").Val(); got != int64(4000000000000) {
		t.Errorf("the remote's expiry = %v, want the local one", got)
	}
	if keys := p.remoteKeys(t); len(keys) != 4 {
		t.Errorf("keys on the remote = %q, want 4", keys)
	}
	st := p.engine.Status()
	if st.Acknowledged != 4 || st.SyncDone != st.SyncTotal || st.SyncDone != 5 {
		t.Errorf("status = %+v, want 4 acknowledged, and 5 of 5 dealt with", st)
	}
	if !strings.Contains(st.LastError, `"user:8"`) {
		t.Errorf("last error = %q, want the key that was skipped in it", st.LastError)
	}
}

func TestSyncOfOwners(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7", "8")
	for _, id := range []string{"7", "8", "9"} {
		p.add(t, "user:"+id+":mnodes", nodes(3))
	}
	run, _, err := p.engine.Sync(replication.SyncRequest{Owners: []string{"7", "9"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Wait(); err == nil || !strings.Contains(err.Error(), "not in sponsors:acme: 9") {
		t.Errorf("SYNC of somebody who is no sponsor: %v", err)
	}
	if keys := p.remoteKeys(t); len(keys) != 0 {
		t.Errorf("keys on the remote = %q, want none", keys)
	}
	p.sync(t, "7")
	if got, want := p.remoteKeys(t), []string{sponsorsKey, "user:7:mnodes"}; !slices.Equal(got, want) {
		t.Errorf("keys on the remote = %q, want %q", got, want)
	}
	p.wantRemoteSet(t, sponsorsKey, []string{"7"})
}

func TestSyncOfNobody(t *testing.T) {
	p := newPair(t, nil)
	if got := p.sync(t); got.Keys != 0 || got.Sponsors != 0 {
		t.Errorf("SYNC = %+v, want nothing", got)
	}
}

// TestSyncAsksForTheSponsors: an empty server whose remote has just come back
// knows nobody, and finds out before it says that there is nothing to do.
func TestSyncAsksForTheSponsors(t *testing.T) {
	p := newPair(t, nil)
	p.addRemote(t, sponsorsKey, []string{"7"})
	p.proxy.Refuse()
	p.engine.DataSetReplaced()
	p.waitFor(t, replication.StateDown)
	if err := p.proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	if got := p.sync(t); got.Keys != 1 || got.Sponsors != 1 {
		t.Errorf("SYNC = %+v, want the set and one sponsor", got)
	}
}

func TestSyncRefusedByTheRemote(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, ids(10)...)
	for _, id := range ids(10) {
		p.add(t, "user:"+id+":mnodes", nodes(3))
	}
	if err := p.r.Set(t.Context(), "user:5:mnodes", "another type", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := p.sync(t); got.Keys != 10 || got.Failed != 1 {
		t.Errorf("SYNC = %+v, want 10 keys and 1 failed", got)
	}
	for _, id := range []string{"1", "4", "6", "10"} {
		p.wantRemoteSet(t, "user:"+id+":mnodes", nodes(3))
	}
}

func TestSyncDryRun(t *testing.T) {
	p := newPair(t, nil)
	p.config.Remote = replication.Remote{}
	p.engine.Configure(p.config)
	p.sponsors(t, "7")
	p.add(t, "user:7:mnodes", nodes(1500))
	run, _, err := p.engine.Sync(replication.SyncRequest{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := run.Wait()
	if err != nil || got.Keys != 2 || got.Elements != 1501 {
		t.Errorf("DRYRUN = %+v, %v; want 2 keys with 1501 elements", got, err)
	}
	if _, _, err := p.engine.Sync(replication.SyncRequest{}); !errors.Is(err, replication.ErrNoRemote) {
		t.Errorf("SYNC without a remote: %v, want ErrNoRemote", err)
	}
}

// TestSyncJoins: one run serves all who ask for the same while it has not ended;
// who asks for something else waits for its turn.
func TestSyncJoins(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7", "8")
	p.add(t, "user:7:mnodes", nodes(3))
	p.proxy.Latency(100 * time.Millisecond)
	first, joined, err := p.engine.Sync(replication.SyncRequest{Owners: []string{"7", "8"}})
	if err != nil || joined {
		t.Fatalf("the first SYNC: joined %v, %v", joined, err)
	}
	if !p.engine.Syncing() {
		t.Error("Syncing = false while a SYNC runs")
	}
	for _, owners := range [][]string{{"7", "8"}, {"8", "7"}, {"8", "7", "8"}} {
		run, joined, err := p.engine.Sync(replication.SyncRequest{Owners: owners})
		if run != first || !joined || err != nil {
			t.Errorf("SYNC %q has not joined: %v, %v", owners, joined, err)
		}
	}
	others := []replication.SyncRequest{{}, {Owners: []string{"7"}}, {Owners: []string{"7", "8"}, DryRun: true}}
	var wg sync.WaitGroup
	for _, request := range others {
		run, joined, err := p.engine.Sync(request)
		if run == first || joined || err != nil {
			t.Errorf("SYNC %+v: joined %v, %v; want a run of its own", request, joined, err)
			continue
		}
		wg.Go(func() {
			if _, err := run.Wait(); err != nil {
				t.Errorf("SYNC %+v: %v", request, err)
			}
		})
	}
	p.proxy.Latency(0)
	if _, err := first.Wait(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if p.engine.Syncing() {
		t.Error("Syncing = true after all have ended")
	}
	again, joined, err := p.engine.Sync(replication.SyncRequest{Owners: []string{"7", "8"}})
	if again == first || joined || err != nil {
		t.Errorf("SYNC after the end: joined %v, %v; want a new run", joined, err)
	}
	if _, err := again.Wait(); err != nil {
		t.Error(err)
	}
}

// TestSyncOfManyInLittleMemory: BufferLimit bounds what is on its way, and stops
// nothing.
func TestSyncOfManyInLittleMemory(t *testing.T) {
	for _, limit := range []int64{1, 10_000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			p := newPair(t, func(c *replication.Config) { c.BufferLimit = limit })
			p.sponsors(t, ids(300)...)
			for _, id := range ids(300) {
				p.local.must(t, "HSET", "user_details:"+id, "id", id, "text", strings.Repeat("x", 1000))
			}
			if got := p.sync(t); got.Keys != 301 {
				t.Errorf("SYNC = %+v, want 301 keys", got)
			}
			if n := p.r.DBSize(t.Context()).Val(); n != 301 {
				t.Errorf("%d keys on the remote, want 301", n)
			}
		})
	}
}
