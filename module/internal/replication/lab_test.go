package replication_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const (
	org         = "acme"
	sponsorsKey = "sponsors:" + org
)

// soon is how long a test waits for what takes milliseconds on an idle machine.
const soon = 20 * time.Second

// A pair is an engine between two real servers.
type pair struct {
	local  *localServer
	remote *redistest.Server
	proxy  *redistest.Proxy // on the way to remote
	r      *redis.Client    // to remote, as the default user, not by way of proxy
	engine *replication.Engine
	config replication.Config
}

// newPair starts a pair that is connected. change, if not nil, changes the
// configuration.
func newPair(t *testing.T, change func(*replication.Config)) *pair {
	t.Helper()
	p := &pair{local: newLocalServer(t), remote: redistest.Remote(t, redistest.Config{})}
	p.proxy = redistest.NewProxy(t, p.remote.Addr())
	p.r = p.remote.Client()
	p.config = replication.Config{
		Org: org, Templates: templates(t, keyspace.DefaultTemplates),
		Remote: replication.Remote{
			Host: p.proxy.Host(), Port: p.proxy.Port(),
			Username: p.remote.Login().User, PasswordFile: p.remote.PasswordFile(),
			TLS: true, CACert: p.remote.TLS().CAFile,
		},
		Tuning: replication.Tuning{ReadThrough: replication.ReadAsync, AbsentTTL: time.Minute, BufferLimit: 1 << 20},
	}
	if change != nil {
		change(&p.config)
	}
	p.engine = replication.New(p.local, slog.New(slog.NewTextHandler(testLog{t}, nil)), true)
	p.local.engine = p.engine
	t.Cleanup(func() { p.close(t) })
	p.engine.Configure(p.config)
	p.waitFor(t, replication.StateConnected)
	return p
}

// testLog shows the engine's log beside a test that fails.
type testLog struct{ t *testing.T }

func (w testLog) Write(line []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

var _ io.Writer = testLog{}

func templates(t *testing.T, list string) keyspace.Templates {
	t.Helper()
	ts, err := keyspace.ParseTemplates(list)
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

func (p *pair) waitFor(t *testing.T, state string) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		if st := p.engine.Status(); st.State != state {
			return fmt.Errorf("state = %s, want %s (%+v)", st.State, state, st)
		}
		return nil
	})
}

// sponsors makes ids the sponsors, and waits until the engine knows.
func (p *pair) sponsors(t *testing.T, ids ...string) {
	t.Helper()
	p.local.must(t, "SADD", append([]string{sponsorsKey}, ids...)...)
	p.knows(t, len(ids))
}

func (p *pair) knows(t *testing.T, sponsors int) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		if got := p.engine.Status().Sponsors; got != sponsors {
			return fmt.Errorf("the engine knows %d sponsors, want %d", got, sponsors)
		}
		return nil
	})
}

// sync runs a SYNC that must work.
func (p *pair) sync(t *testing.T, owners ...string) replication.SyncResult {
	t.Helper()
	run, _, err := p.engine.Sync(replication.SyncRequest{Owners: owners})
	if err != nil {
		t.Fatal(err)
	}
	result, err := run.Wait()
	if err != nil {
		t.Fatalf("SYNC %q: %v", owners, err)
	}
	return result
}

// close ends the engine, and wants nothing of it to be left.
func (p *pair) close(t *testing.T) {
	t.Helper()
	if err := p.engine.Close(soon); err != nil {
		t.Error(err)
	}
	redistest.Eventually(t, soon, noWork)
	redistest.Eventually(t, soon, func() error {
		if n := p.proxy.Connections(); n != 0 {
			return fmt.Errorf("%d connections to the remote are left, want none", n)
		}
		list, err := p.r.ClientList(context.Background()).Result() // the test's own ends before its cleanup
		if err != nil || strings.Contains(list, "user="+redistest.EnterpriseUser) {
			return fmt.Errorf("the remote still has us (%w):\n%s", err, list)
		}
		return nil
	})
}

// noWork is an error if a goroutine runs code of the engine.
func noWork() error {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "module/internal/replication.") || strings.Contains(stack, "module/internal/remote.") {
			return fmt.Errorf("a goroutine is left:\n%s", stack)
		}
	}
	return nil
}

// ids are n ids.
func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%d", i+1)
	}
	return list
}

// nodes are n members.
func nodes(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("node-%d", i)
	}
	return list
}

// add makes a set on the local server.
func (p *pair) add(t *testing.T, key string, members []string) {
	t.Helper()
	for part := range slices.Chunk(members, 1000) {
		p.local.must(t, "SADD", append([]string{key}, part...)...)
	}
}

// addRemote makes a set on the remote.
func (p *pair) addRemote(t *testing.T, key string, members []string) {
	t.Helper()
	if err := p.r.SAdd(t.Context(), key, members).Err(); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) wantRemoteSet(t *testing.T, key string, want []string) {
	t.Helper()
	got, err := p.r.SMembers(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sorted(got), sorted(slices.Clone(want))) {
		t.Errorf("the remote has %d members in %s (%.200q), want %d", len(got), key, got, len(want))
	}
}

// wantLocalSet waits until key has the members want on the local server. It is
// a miss each time that the key is not there.
func (p *pair) wantLocalSet(t *testing.T, key string, want []string) {
	t.Helper()
	want = sorted(slices.Clone(want))
	redistest.Eventually(t, soon, func() error {
		if got := sorted(p.local.items(t, "SMEMBERS", key)); !slices.Equal(got, want) {
			return fmt.Errorf("%d members of %s are here, want %d (%+v)", len(got), key, len(want), p.engine.Status())
		}
		return nil
	})
}

func (p *pair) remoteKeys(t *testing.T) []string {
	t.Helper()
	var keys []string
	iter := p.r.Scan(t.Context(), 0, "*", 10000).Iterator()
	for iter.Next(t.Context()) {
		keys = append(keys, iter.Val())
	}
	if err := iter.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// event tells the engine of an event of its own, which the local server knows
// nothing of.
func (p *pair) event(what replication.KeyEvent, key string) {
	p.local.mu.Lock()
	defer p.local.mu.Unlock()
	p.engine.KeyEvent(replication.Event{What: what, Key: key}, localData{p.local})
}

// miss tells the engine that key was read and not found.
func (p *pair) miss(key string) { p.event(replication.Missed, key) }
