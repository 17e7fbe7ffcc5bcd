package replication_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A Close that has lost its patience still waits in the background; work that is
// begun and ended after Reopen must not disturb it.
func TestReopenAfterACloseWithoutPatience(t *testing.T) {
	p := newPair(t, nil)
	for range 300 {
		_ = p.engine.Close(0)
		p.engine.Reopen()
	}
}

func TestCloseDuringHandshake(t *testing.T) {
	p := newPair(t, nil)
	p.proxy.Silent()
	n := p.proxy.Accepted()
	p.config.Remote.ServerName = "localhost"
	p.engine.Configure(p.config) // connects anew
	redistest.Eventually(t, soon, func() error {
		if p.proxy.Accepted() == n {
			return fmt.Errorf("no new connection is tried")
		}
		return nil
	})
	if err := p.engine.Close(2 * time.Second); err != nil {
		t.Errorf("Close while a TLS handshake gets no answer: %v", err)
	}
	redistest.Eventually(t, 2*time.Second, func() error {
		if n := p.proxy.Connections(); n != 0 {
			return fmt.Errorf("%d connections are left", n)
		}
		return nil
	})
}

func TestTypeChangesBetweenPages(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7", "8")
	p.add(t, "user:7:mnodes", nodes(50000))
	p.add(t, "user:8:mnodes", nodes(3))
	calls := 0
	p.local.beforeEach(func() {
		if p.engine.Status().SyncTotal == 0 {
			return
		}
		if calls++; calls == 8 {
			_, _ = p.local.client("SET", "user:7:mnodes", "another type")
		}
	})
	p.engine.Configure(p.config)
	run, _, _ := p.engine.Sync(replication.SyncRequest{})
	got, err := run.Wait()
	if err != nil || got.Failed != 1 || got.Keys != 2 {
		t.Errorf("SYNC = %+v, %v after %d slices; want one key that has failed", got, err, calls)
	}
}

func TestR4_LossDuringAMerge(t *testing.T) {
	const key = "user:7:mnodes"
	p := newPair(t, nil)
	p.sponsors(t, "7")
	p.addRemote(t, key, nodes(20000))
	written, lost := false, false
	p.local.beforeEach(func() {
		p.local.mu.Lock()
		n, _ := p.local.run(untold, "SCARD", key)
		stage, _ := p.local.run(untold, "EXISTS", "sponsor:stage:{"+key+"}")
		p.local.mu.Unlock()
		switch {
		case !written && stage == ":1\r\n":
			written = true
			_, _ = p.local.client("SADD", key, "new")
		case written && !lost && len(n) > len(":100\r\n"):
			lost = true
			p.local.lose(t, key)
		}
	})
	p.local.must(t, "SMEMBERS", key)
	redistest.Eventually(t, soon, func() error {
		if p.engine.Status().Fetched == 0 {
			return fmt.Errorf("not fetched")
		}
		return nil
	})
	n := strings.TrimSpace(p.local.must(t, "SCARD", key))
	if !lost {
		t.Error("the key was not lost at the right moment")
	}
	if n != ":0" && n != ":20000" {
		t.Errorf("SCARD = %s after the key was evicted while it was merged, want all or nothing", n)
	}
}

func TestR4_RemoteKeyIsDeletedWhileItIsRead(t *testing.T) {
	const key = "user:7:mnodes"
	p := newPair(t, nil)
	p.sponsors(t, "7")
	p.addRemote(t, key, nodes(20000))
	seen := p.remote.Monitor(t)
	p.proxy.Latency(200 * time.Millisecond)
	p.local.must(t, "SMEMBERS", key)
	redistest.Eventually(t, soon, func() error {
		if len(seen.Matching("SSCAN"))+len(seen.Matching("sscan")) == 0 {
			return fmt.Errorf("no SSCAN yet")
		}
		return nil
	})
	p.r.Del(t.Context(), key)
	p.proxy.Latency(0)
	redistest.Eventually(t, soon, func() error {
		p.local.must(t, "SMEMBERS", key)
		if p.engine.Status().AbsentHits == 0 {
			return fmt.Errorf("the remote's answer is not known yet")
		}
		return nil
	})
	if n := strings.TrimSpace(p.local.must(t, "SCARD", key)); n != ":0" {
		t.Errorf("SCARD = %s, want nothing", n)
	}
}

func TestR1_OwnKeysNeverLeave(t *testing.T) {
	p := newPair(t, func(c *replication.Config) { c.Templates = templates(t, "s<id>:x") })
	p.sponsors(t, "ponsor")
	p.add(t, "sponsor:x", nodes(3))
	p.sync(t)
	if got := p.remoteKeys(t); len(got) != 1 {
		t.Errorf("keys on the remote = %q, want the sponsors alone", got)
	}
}
