package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// TestRemoteThatCannotBeUsed breaks each part of the way to the remote, sees a
// clear error, mends it by CONFIG SET or by itself, and sees it work.
func TestRemoteThatCannotBeUsed(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	plain := redistest.New(t, redistest.Config{Name: "plain"})
	dir := t.TempDir()
	other, err := redistest.NewTLS(dir)
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(dir, "wrong")
	if err := os.WriteFile(wrong, []byte("not the password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		conf string // breaks it
		mend []any
		want []string // in the error of SYNC, and in last_error
	}{
		{
			"nothing listens", "sponsor.remote-port 1", cmd("sponsor.remote-port", remote.Port()),
			[]string{"connection refused", "is the remote up"},
		},
		{
			"wrong password", "sponsor.remote-password-file " + wrong,
			cmd("sponsor.remote-password-file", remote.PasswordFile()),
			[]string{"WRONGPASS", "sponsor.remote-password-file"},
		},
		{
			"wrong user", "sponsor.remote-username nobody", cmd("sponsor.remote-username", remote.Login().User),
			[]string{"WRONGPASS", "sponsor.remote-username"},
		},
		{
			"no password file", "sponsor.remote-password-file " + filepath.Join(dir, "missing"),
			cmd("sponsor.remote-password-file", remote.PasswordFile()),
			[]string{"missing", "sponsor.remote-password-file"},
		},
		{
			"no CA file", "sponsor.remote-cacert " + filepath.Join(dir, "missing"),
			cmd("sponsor.remote-cacert", remote.TLS().CAFile),
			[]string{"missing", "sponsor.remote-cacert"},
		},
		{
			"another CA", "sponsor.remote-cacert " + other.CAFile, cmd("sponsor.remote-cacert", remote.TLS().CAFile),
			[]string{"certificate", "sponsor.remote-cacert"},
		},
		{
			"another name", "sponsor.remote-server-name other.example", cmd("sponsor.remote-server-name", ""),
			[]string{"other.example", "sponsor.remote-server-name"},
		},
		{
			"no TLS where the remote wants it", "sponsor.remote-tls no", cmd("sponsor.remote-tls", "yes"),
			[]string{"closed the connection", "set sponsor.remote-tls yes"},
		},
		{
			"TLS where the remote has none", fmt.Sprintf("sponsor.remote-port %d", plain.Port()),
			cmd("sponsor.remote-port", remote.Port()),
			[]string{"no answer in time", "does sponsor.remote-tls fit it"},
		},
		{
			"no such host", "sponsor.remote-host host.invalid", cmd("sponsor.remote-host", remote.Host()),
			[]string{"host.invalid", "sponsor.remote-host"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newLocal(t, remote, redistest.Config{Conf: append(remoteConf(remote, remote.Host(), remote.Port()), tt.conf)})
			must(t, p.r, cmd("FLUSHALL"))
			must(t, p.l, cmd("SADD", sponsorsKey, "7"))
			c := p.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
			wantError(t, c, append([]string{"ERR SYNC has failed"}, tt.want...), "SPONSOR.SYNC")
			p.waitFor(t, "down")
			st, err := status(p.l)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range tt.want {
				if !strings.Contains(st["last_error"].(string), part) {
					t.Errorf("last_error = %q, want %q in it", st["last_error"], part)
				}
			}
			must(t, p.l, append(cmd("CONFIG", "SET"), tt.mend...))
			p.waitFor(t, "connected")
			wantCounts(t, p.sync(t), map[string]int64{"keys": 1})
		})
	}
}

// TestRemoteComesBack loses the remote in every way, and gets it back without
// anybody's help.
func TestRemoteComesBack(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: remoteConf(remote, proxy.Host(), proxy.Port())})
	p.seed(t)
	heal := func() error { return proxy.Heal() }
	for _, fault := range []struct {
		name       string
		begin, end func() error
	}{
		{"killed and started again", remote.Kill, func() error { return remote.Restart(t.Context()) }},
		{"refuses connections", func() error { proxy.Refuse(); proxy.CloseAll(); return nil }, heal},
		{"goes silent", func() error { proxy.Silent(); return nil }, heal},
		{"resets every connection", func() error { proxy.CutAfter(1); return nil }, heal},
	} {
		t.Run(fault.name, func(t *testing.T) {
			if err := fault.begin(); err != nil {
				t.Fatal(err)
			}
			p.waitFor(t, "down")
			// The local server goes on meanwhile.
			must(t, p.l, cmd("SADD", "user:7:mnodes", "C7"), cmd("HGETALL", "user:7"))
			wantMembers(t, p.l, "user:7:mnodes", "C1", "C2", "C7")
			if err := fault.end(); err != nil {
				t.Fatal(err)
			}
			p.waitFor(t, "connected")
			p.r = remote.Client()
			wantCounts(t, p.sync(t), map[string]int64{"failed": 0})
			wantMembers(t, p.r, "user:7:mnodes", "C1", "C2", "C7")
		})
	}
}

// TestPasswordIsRotated changes the remote's password under way.
func TestPasswordIsRotated(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.seed(t)
	must(t, p.r, cmd("ACL", "SETUSER", p.remote.Login().User, "resetpass", ">another"), cmd("CLIENT", "KILL", "USER", p.remote.Login().User))
	p.waitFor(t, "down")
	if err := os.WriteFile(p.remote.PasswordFile(), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.waitFor(t, "connected")
	p.sync(t)
}

func TestRemoteCluster(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor, Conf: []string{"cluster-enabled yes", "tls-cluster yes"}})
		must(t, remote.Client(), cmd("CLUSTER", "ADDSLOTSRANGE", 0, 16383))
		redistest.Eventually(t, soon, func() error {
			if info := remote.Client().ClusterInfo(t.Context()).Val(); !strings.Contains(info, "cluster_state:ok") {
				return fmt.Errorf("%s", info)
			}
			return nil
		})
		p := newLocal(t, remote, redistest.Config{
			Flavor: flavor, Conf: append(remoteConf(remote, remote.Host(), remote.Port()), "sponsor.remote-cluster yes"),
		})
		p.waitFor(t, "connected")
		pipelined(t, p.l, func(yield func(...any)) {
			for id := range 300 {
				yield("SADD", sponsorsKey, id)
				yield("SADD", fmt.Sprintf("user:%d:mnodes", id), "a", "b")
			}
		})
		wantCounts(t, p.sync(t), map[string]int64{"keys": 301, "failed": 0})
		must(t, p.l, cmd("FLUSHALL"))
		redistest.Eventually(t, soon, func() error {
			if n := len(members(t, p.l, sponsorsKey)); n != 300 {
				return fmt.Errorf("%d sponsors", n)
			}
			return nil
		})
		eventuallyMembers(t, p.l, "user:123:mnodes", "a", "b")
	})
}

// readmesRights gives the remote's user the rights that the README lists, and no
// others; at the end of the test none may have been missed.
func (p *pair) readmesRights(t *testing.T) {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "- **Rights on the remote.**")
	text, _, _ = strings.Cut(text, "\n- **")
	_, text, _ = strings.Cut(text, "by the commands")
	rules := []any{"ACL", "SETUSER", redistest.EnterpriseUser, "resetkeys", "~user*", "~sponsor*", "nocommands"}
	for _, name := range regexp.MustCompile("`([A-Z]+)`").FindAllStringSubmatch(text, -1) {
		rules = append(rules, "+"+strings.ToLower(name[1]))
	}
	if len(rules) < 10 {
		t.Fatalf("the README lists no rights: %q", text)
	}
	must(t, p.r, rules)
	t.Cleanup(func() {
		log, err := p.remote.Client().Do(context.Background(), "ACL", "LOG").Slice() // the test's own context has ended
		if err != nil || len(log) > 0 {
			t.Errorf("the remote has refused us something: %v %v", log, err)
		}
	})
}

// TestRightsThatTheReadmeLists: they are enough for all that the module does, with
// small values and with large ones. Other types than sets and hashes:
// TestR12_EveryType.
func TestRightsThatTheReadmeLists(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		const n = 2500 // more than a page
		p := newPair(t, flavor, writeBehind)
		p.readmesRights(t)
		p.waitFor(t, "connected")
		pipelined(t, p.l, func(yield func(...any)) {
			for i := range n {
				yield("SADD", sponsorsKey, i)
				yield("SADD", "user:7:mnodes", i)
				yield("HSET", "user:7", i, i)
			}
			yield("HSET", "user_details:7", "id", 7)
			yield("EXPIRE", "user_details:7", 1000)
		})
		wantCounts(t, p.sync(t), map[string]int64{"keys": 4, "failed": 0})
		must(t, p.l,
			cmd("SADD", "user:9:mnodes", "a", "b"), cmd("SPOP", "user:9:mnodes"), cmd("SREM", "user:9:mnodes", "c"),
			cmd("HSET", "user:9", "f", "v", "g", "w"), cmd("HDEL", "user:9", "f"), cmd("PERSIST", "user_details:7"),
			cmd("SREM", "user:7:mnodes", "1"), cmd("SPOP", "user:7:mnodes"), cmd("SADD", "user:7:mnodes", "x", "y"),
			cmd("HSET", "user_details:9", "id", "9"), cmd("DEL", "user_details:9"))
		p.safe(t)
		p.wantSame(t, "user:9:mnodes", "user:9", "user:7:mnodes", "user_details:7", "user_details:9")
		must(t, p.l, cmd("FLUSHALL"))
		p.waitForSponsors(t, n)
		redistest.Eventually(t, soon, func() error {
			got := []int64{
				p.l.SCard(t.Context(), "user:7:mnodes").Val(), p.l.HLen(t.Context(), "user:7").Val(),
				p.l.HLen(t.Context(), "user_details:7").Val(), p.l.SCard(t.Context(), sponsorsKey).Val(),
			}
			if want := []int64{n, n, 1, n}; !slices.Equal(got, want) {
				return fmt.Errorf("elements here = %d, want %d", got, want)
			}
			return nil
		})
	})
}
