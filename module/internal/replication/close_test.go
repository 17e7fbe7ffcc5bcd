package replication_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
)

// TestClose ends an engine in the midst of its work; p.close wants nothing of it
// to be left.
func TestClose(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7")
	p.add(t, "user:7:mnodes", nodes(5000))
	p.proxy.Latency(50 * time.Millisecond)
	run, _, err := p.engine.Sync(replication.SyncRequest{})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	p.close(t)
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %v until nothing was left: whose connections close only when they are collected?", took)
	}
	if _, err := run.Wait(); err == nil || !strings.Contains(err.Error(), "unloaded") {
		t.Errorf("the SYNC that Close has ended: %v", err)
	}
	p.close(t) // twice does no harm
	if _, _, err := p.engine.Sync(replication.SyncRequest{}); err == nil {
		t.Error("SYNC after Close has begun")
	}

	// None of these starts anything.
	p.config.Org = "other"
	p.engine.Configure(p.config)
	p.engine.SetMaster(false)
	p.engine.SetMaster(true)
	p.miss("user:7:mnodes")
	p.engine.DataSetReplaced()
	if err := noWork(); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if p.engine.Syncing() {
		t.Error("Syncing = true after Close")
	}

	p.proxy.Latency(0)
	p.config.Org = org
	p.engine.Configure(p.config)
	p.engine.Reopen()
	p.waitFor(t, replication.StateConnected)
	p.sync(t)
	p.wantRemoteSet(t, "user:7:mnodes", nodes(5000))
}

// TestSyncEndsWithItsCause: what ends a SYNC is what its error says.
func TestSyncEndsWithItsCause(t *testing.T) {
	tests := []struct {
		name string
		end  func(p *pair)
		want string
	}{
		{"another remote", func(p *pair) {
			p.config.Remote.Port++
			p.engine.Configure(p.config)
		}, "the configuration has changed"},
		{"a replica", func(p *pair) { p.engine.SetMaster(false) }, replication.ErrReplica.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, nil)
			p.sponsors(t, "7")
			p.proxy.Latency(time.Second)
			run, _, err := p.engine.Sync(replication.SyncRequest{})
			if err != nil {
				t.Fatal(err)
			}
			tt.end(p)
			if _, err := run.Wait(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("SYNC: %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTuningEndsNothing(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7")
	p.proxy.Latency(50 * time.Millisecond)
	run, _, err := p.engine.Sync(replication.SyncRequest{})
	if err != nil {
		t.Fatal(err)
	}
	p.config.AbsentTTL++
	p.engine.Configure(p.config)
	p.proxy.Latency(0)
	if _, err := run.Wait(); err != nil {
		t.Errorf("SYNC: %v", err)
	}
}

func TestReplicaIsQuiet(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7")
	p.engine.SetMaster(false)
	if _, _, err := p.engine.Sync(replication.SyncRequest{}); !errors.Is(err, replication.ErrReplica) {
		t.Errorf("SYNC on a replica: %v, want ErrReplica", err)
	}
	if st := p.engine.Status(); st.State != replication.StateReplica {
		t.Errorf("state = %s, want %s", st.State, replication.StateReplica)
	}
	p.close(t) // no connection is left; it is open again below
	p.engine.Reopen()
	if err := noWork(); err != nil {
		t.Error(err)
	}
	p.engine.SetMaster(true)
	p.waitFor(t, replication.StateConnected)
}
