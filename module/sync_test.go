package main_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

func TestSyncCopiesASponsorsKeys(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.waitFor(t, "connected")
		must(t, p.l,
			cmd("SADD", sponsorsKey, "7", "42"),
			cmd("SADD", "user:7:mnodes", "C1", "C2", "C3"),
			cmd("HSET", "user_details:7", "id", "7", "email", "seven@example.org"),
			cmd("HSET", "user:42", "theme", "dark"),
			// Of no interest: not a sponsor, not a key of ours, and other
			// people's whose ids look alike.
			cmd("SADD", "user:8:mnodes", "C9"),
			cmd("SADD", "user:77:mnodes", "C9"),
			cmd("HSET", "user_details:8", "id", "8"),
			cmd("SADD", "user:7:mnodes:old", "C9"),
			cmd("SET", "graph:node:7", "7"),
			cmd("SET", "sponsor:own", "7"),
		)
		wantCounts(t, p.sync(t, "DRYRUN"), map[string]int64{"sponsors": 2, "keys": 4, "elements": 8})
		wantKeys(t, p.r)
		got := p.sync(t)
		wantCounts(t, got, map[string]int64{
			"sponsors": 2, "keys": 4, "elements": 8, "skipped": 0, "failed": 0,
			"bytes": int64(len("sponsors:acme" + "7" + "42" + "user:7:mnodes" + "C1C2C3" +
				"user_details:7" + "id7" + "emailseven@example.org" + "user:42" + "themedark")),
		})
		wantKeys(t, p.r, sponsorsKey, "user:7:mnodes", "user_details:7", "user:42")
		eventuallyMembers(t, p.r, sponsorsKey, "42", "7")
		eventuallyMembers(t, p.r, "user:7:mnodes", "C1", "C2", "C3")
		wantHash(t, p.r, "user_details:7", map[string]string{"id": "7", "email": "seven@example.org"})
		wantHash(t, p.r, "user:42", map[string]string{"theme": "dark"})
	})
}

// TestSyncCopiesExactlyTheSponsorsKeys is SYNC at the size it is made for.
func TestSyncCopiesExactlyTheSponsorsKeys(t *testing.T) {
	const users, others, every = 100_000, 1_000_000, 100
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.waitFor(t, "connected")
		must(t, p.l, cmd("DEBUG", "POPULATE", others, "graph"))
		wantSets, wantHashes := map[string][]string{}, map[string]map[string]string{}
		pipelined(t, p.l, func(yield func(...any)) {
			for id := range users {
				set, hash := fmt.Sprintf("user:%d:mnodes", id), fmt.Sprintf("user_details:%d", id)
				node, login := fmt.Sprintf("C%d", id), fmt.Sprintf("login-%d", id)
				yield("SADD", set, node, "C1", "C2")
				yield("HSET", hash, "id", strconv.Itoa(id), "user_login", login)
				if id%every == 0 {
					yield("SADD", sponsorsKey, strconv.Itoa(id))
					wantSets[set] = []string{node, "C1", "C2"}
					wantHashes[hash] = map[string]string{"id": strconv.Itoa(id), "user_login": login}
					wantSets[sponsorsKey] = append(wantSets[sponsorsKey], strconv.Itoa(id))
				}
			}
		})
		wantCounts(t, p.sync(t), map[string]int64{
			"sponsors": users / every, "keys": 2*users/every + 1, "skipped": 0, "failed": 0,
		})
		wantKeys(t, p.r, slices.Concat(slices.Collect(maps.Keys(wantSets)), slices.Collect(maps.Keys(wantHashes)))...)
		for key, want := range wantSets {
			slices.Sort(want)
			if got := members(t, p.r, key); !slices.Equal(got, slices.Compact(want)) {
				t.Fatalf("remote %s = %.100q, want %.100q", key, got, want)
			}
		}
		for key, want := range wantHashes {
			wantHash(t, p.r, key, want)
		}
	})
}

func TestSyncOfOneUser(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.waitFor(t, "connected")
	must(t, p.l,
		cmd("SADD", sponsorsKey, "7", "8"),
		cmd("SADD", "user:7:mnodes", "a"),
		cmd("SADD", "user:8:mnodes", "b"),
		cmd("SADD", "user:9:mnodes", "c"),
	)
	wantCounts(t, p.sync(t, "user", "7"), map[string]int64{"sponsors": 1, "keys": 2, "elements": 2})
	wantKeys(t, p.r, sponsorsKey, "user:7:mnodes")
	eventuallyMembers(t, p.r, sponsorsKey, "7")

	wantError(t, p.l, []string{"ERR", "not in " + sponsorsKey + ": 9", "nobody's keys were copied"}, "SPONSOR.SYNC", "USER", "8", "9")
	wantKeys(t, p.r, sponsorsKey, "user:7:mnodes")
	if n := statusInt(t, p.l, "errors"); n != 0 {
		t.Errorf("errors = %d after a question that was wrong, want 0", n)
	}
}

func TestSyncOfAnyBytes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.waitFor(t, "connected")
		odd := "\x00\xff\r\n$3\r\n*?[]\\ \"'"
		big := strings.Repeat("x", 3<<20)
		must(t, p.l,
			cmd("SADD", sponsorsKey, odd, "with:colon", "", "7"),
			cmd("SADD", "user:"+odd+":mnodes", odd, "", big),
			cmd("HSET", "user_details:"+odd, odd, odd, "", ""),
			cmd("SADD", "user:with:colon:mnodes", "stays"),
			cmd("SADD", "user::mnodes", "stays"),
		)
		p.sync(t)
		wantKeys(t, p.r, sponsorsKey, "user:"+odd+":mnodes", "user_details:"+odd)
		want := []string{odd, "", big}
		eventuallyMembers(t, p.r, "user:"+odd+":mnodes", want...)
		wantHash(t, p.r, "user_details:"+odd, map[string]string{odd: odd, "": ""})

		// And back again.
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, odd, "with:colon", "", "7")
		eventuallyMembers(t, p.l, "user:"+odd+":mnodes", want...)
	})
}

func TestSyncOfLargeValues(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.waitFor(t, "connected")
		const n = 200_000
		want := make([]string, n)
		must(t, p.l, cmd("SADD", sponsorsKey, "7"))
		pipelined(t, p.l, func(yield func(...any)) {
			for i := range want {
				want[i] = fmt.Sprintf("node-%d", i)
				yield("SADD", "user:7:mnodes", want[i])
				yield("HSET", "user_details:7", want[i], i)
			}
		})
		slices.Sort(want)
		wantCounts(t, p.sync(t), map[string]int64{"keys": 3, "elements": 2*n + 1})
		if got := members(t, p.r, "user:7:mnodes"); !slices.Equal(got, want) {
			t.Errorf("remote has %d members, want %d", len(got), len(want))
		}
		if got := p.r.HLen(t.Context(), "user_details:7").Val(); got != n {
			t.Errorf("remote has %d fields, want %d", got, n)
		}

		// Back again: a large value appears all at once.
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		redistest.Eventually(t, soon, func() error {
			switch got := p.l.SCard(t.Context(), "user:7:mnodes").Val(); got {
			case n:
				return nil
			case 0:
				return fmt.Errorf("not yet back")
			default:
				t.Fatalf("local shows %d of %d members", got, n)
				return nil
			}
		})
		redistest.Eventually(t, soon, func() error {
			if got := p.l.HLen(t.Context(), "user_details:7").Val(); got != n {
				return fmt.Errorf("local has %d fields", got)
			}
			return nil
		})
		wantKeys(t, p.l, sponsorsKey, "user:7:mnodes", "user_details:7")
		if ttl := p.l.PTTL(t.Context(), "user:7:mnodes").Val(); ttl != -1 {
			t.Errorf("the key that is back expires in %v, want never", ttl)
		}
	})
}

func TestSyncCopiesExpiry(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.waitFor(t, "connected")
	at := time.Now().Add(time.Hour).UnixMilli()
	must(t, p.l,
		cmd("SADD", sponsorsKey, "7"),
		cmd("SADD", "user:7:mnodes", "a"),
		cmd("PEXPIREAT", "user:7:mnodes", at),
		cmd("HSET", "user_details:7", "id", "7"),
	)
	must(t, p.r, cmd("HSET", "user_details:7", "id", "old"), cmd("EXPIRE", "user_details:7", 1000))
	p.sync(t)
	if got := p.r.PExpireTime(t.Context(), "user:7:mnodes").Val(); got != time.Duration(at)*time.Millisecond {
		t.Errorf("remote expires at %v, want %d ms", got, at)
	}
	if got := p.r.PTTL(t.Context(), "user_details:7").Val(); got != -1 {
		t.Errorf("remote expires in %v, want never, as here", got)
	}

	// It comes back with its expiry.
	must(t, p.l, cmd("FLUSHALL"))
	eventuallyMembers(t, p.l, sponsorsKey, "7")
	eventuallyMembers(t, p.l, "user:7:mnodes", "a")
	if got := p.l.PExpireTime(t.Context(), "user:7:mnodes").Val(); got != time.Duration(at)*time.Millisecond {
		t.Errorf("local expires at %v, want %d ms", got, at)
	}
}

func TestSyncGoesOnAfterABadKey(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.waitFor(t, "connected")
	must(t, p.l,
		cmd("SADD", sponsorsKey, "1", "2", "3"),
		cmd("SADD", "user:1:mnodes", "a"),
		cmd("SADD", "user:2:mnodes", "b"),
		cmd("SET", "user:3:mnodes", "no set, which travels too"),
		cmd("SADD", "user_details:3", "c"),
	)
	must(t, p.r, cmd("SET", "user:1:mnodes", "no set"))
	wantCounts(t, p.sync(t), map[string]int64{"keys": 4, "skipped": 0, "failed": 1})
	wantKeys(t, p.r, sponsorsKey, "user:1:mnodes", "user:2:mnodes", "user:3:mnodes", "user_details:3")
	for _, part := range []string{`"user:1:mnodes": WRONGTYPE`} {
		if !p.local.LogContains(part) {
			t.Errorf("the log does not name %s", part)
		}
	}
	st, err := status(p.l)
	if err != nil {
		t.Fatal(err)
	}
	if st["errors"] != int64(1) || st["last_error"] == "" {
		t.Errorf("STATUS = %v, want 1 error", st)
	}
}

func TestSyncOptions(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.waitFor(t, "connected")
	tests := []struct {
		name string
		args []any
		want []string
	}{
		{"unknown", cmd("SPONSOR.SYNC", "FAST"), []string{"ERR", "unknown option", "FAST", "SPONSOR.HELP"}},
		{"USER without ids", cmd("SPONSOR.SYNC", "USER"), []string{"ERR", "USER wants the ids"}},
		{"USER with an option only", cmd("SPONSOR.SYNC", "USER", "DRYRUN"), []string{"ERR", "USER wants the ids"}},
		{"USER with a colon", cmd("SPONSOR.SYNC", "USER", "7", "a:b"), []string{"ERR", "a:b", "cannot be the id"}},
		{"USER with an empty id", cmd("SPONSOR.SYNC", "USER", ""), []string{"ERR", "cannot be the id"}},
		{"PRUNE without write-behind", cmd("SPONSOR.SYNC", "PRUNE"), []string{"ERR", "sponsor.write-behind yes"}},
		{"odd bytes", cmd("SPONSOR.SYNC", "\r\n\x00\xff"), []string{"ERR", "unknown option"}},
		{"STATUS with more", cmd("SPONSOR.STATUS", "x"), []string{"ERR wrong number of arguments for 'sponsor.status' command"}},
		{"HELP with more", cmd("SPONSOR.HELP", "x"), []string{"ERR wrong number of arguments for 'sponsor.help' command"}},
		{"in a script", cmd("EVAL", "return redis.call('SPONSOR.SYNC')", 0), []string{"NOWAIT"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantError(t, p.l, tt.want, tt.args...) })
	}
	t.Run("in MULTI", func(t *testing.T) {
		var sync, nowait *redis.Cmd
		_, err := p.l.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
			sync = tx.Do(t.Context(), "SPONSOR.SYNC")
			nowait = tx.Do(t.Context(), "SPONSOR.SYNC", "NOWAIT")
			return nil
		})
		if err == nil || sync.Err() == nil || !strings.Contains(sync.Err().Error(), "NOWAIT") {
			t.Errorf("SYNC = %v, want an error that names NOWAIT", sync)
		}
		if nowait.Err() != nil {
			t.Errorf("SYNC NOWAIT: %v", nowait.Err())
		}
	})
}

// TestSyncJoins holds a SYNC up by a remote that answers late.
func TestSyncJoins(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: remoteConf(remote, proxy.Host(), proxy.Port())})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a"))
	proxy.Latency(500 * time.Millisecond)

	const clients = 5
	results := make(chan map[string]any, clients)
	begun := make(chan struct{}, clients)
	for range clients {
		go func() {
			begun <- struct{}{}
			c := p.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
			reply, err := c.Do(context.Background(), "SPONSOR.SYNC").Result()
			if err != nil {
				reply = []any{"error", err.Error()}
			}
			results <- fields(reply)
		}()
	}
	for range clients {
		<-begun
	}
	redistest.Eventually(t, soon, func() error {
		blocked, err := p.l.Info(t.Context(), "clients").Result()
		if err != nil {
			return err
		}
		if !strings.Contains(blocked, fmt.Sprintf("blocked_clients:%d", clients)) {
			return fmt.Errorf("not all wait: %s", blocked)
		}
		return nil
	})
	if got := p.l.Do(t.Context(), "SPONSOR.SYNC", "NOWAIT").Val(); got != "SYNC is under way already" {
		t.Errorf("NOWAIT = %v", got)
	}
	for range clients {
		wantCounts(t, <-results, map[string]int64{"keys": 2, "elements": 2})
	}
	if got := statusInt(t, p.l, "acknowledged"); got != 2 {
		t.Errorf("acknowledged = %d: the clients have not shared one SYNC", got)
	}
}

// TestSyncClientGoesAway kills, unblocks and disconnects clients that wait.
func TestSyncClientGoesAway(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		proxy := redistest.NewProxy(t, remote.Addr())
		p := newLocal(t, remote, redistest.Config{Flavor: flavor, Conf: remoteConf(remote, proxy.Host(), proxy.Port())})
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a"))
		for name, away := range map[string]func(id int64) error{
			"CLIENT UNBLOCK":       func(id int64) error { return p.l.ClientUnblock(t.Context(), id).Err() },
			"CLIENT UNBLOCK ERROR": func(id int64) error { return p.l.ClientUnblockWithError(t.Context(), id).Err() },
			"CLIENT KILL": func(id int64) error {
				return p.l.ClientKillByFilter(t.Context(), "ID", strconv.FormatInt(id, 10)).Err()
			},
		} {
			t.Run(name, func(t *testing.T) {
				proxy.Latency(time.Second)
				conn := p.local.Client(func(o *redis.Options) { o.MaxRetries = -1 }).Conn()
				defer conn.Close()
				id := conn.ClientID(t.Context()).Val()
				result := make(chan error, 1)
				go func() { result <- conn.Do(context.Background(), "SPONSOR.SYNC").Err() }()
				redistest.Eventually(t, soon, func() error {
					list := p.l.Do(t.Context(), "CLIENT", "LIST", "ID", id).String()
					if !strings.Contains(list, "flags=b") {
						return fmt.Errorf("the client does not wait: %s", list)
					}
					return nil
				})
				if err := away(id); err != nil {
					t.Fatal(err)
				}
				if err := <-result; err == nil {
					t.Error("the client got an answer of a SYNC that it has not waited for")
				}
				if err := proxy.Heal(); err != nil {
					t.Fatal(err)
				}
				// The run goes on, and the next one works.
				wantCounts(t, p.sync(t), map[string]int64{"keys": 2})
			})
		}
	})
}

// TestSyncThroughBrokenConnections cuts the connections to the remote at many
// places: a SYNC tries again and ends well.
func TestSyncThroughBrokenConnections(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: remoteConf(remote, proxy.Host(), proxy.Port())})
	p.waitFor(t, "connected")
	const sponsors, each = 500, 40
	pipelined(t, p.l, func(yield func(...any)) {
		for id := range sponsors {
			yield("SADD", sponsorsKey, id)
			args := []any{"SADD", fmt.Sprintf("user:%d:mnodes", id)}
			for i := range each {
				args = append(args, fmt.Sprintf("node-%d-%d", id, i))
			}
			yield(args...)
		}
	})
	for _, after := range []int64{1, 100, 5_000, 60_000, 200_000} {
		for name, cut := range map[string]func(int64){"requests": proxy.CutAfter, "replies": proxy.CutReplyAfter} {
			if name == "replies" {
				after /= 20 // there is less of them
			}
			must(t, p.r, cmd("FLUSHALL"))
			p.waitFor(t, "connected")
			cut(after)
			wantCounts(t, p.sync(t), map[string]int64{"keys": sponsors + 1, "elements": sponsors*each + sponsors, "failed": 0})
			if err := proxy.Heal(); err != nil {
				t.Fatal(err)
			}
			if got := len(allKeys(t, p.r)); got != sponsors+1 {
				t.Errorf("%s cut after %d bytes: remote has %d keys, want %d", name, after, got, sponsors+1)
			}
			for _, id := range []int{0, sponsors / 2, sponsors - 1} {
				if got := p.r.SCard(t.Context(), fmt.Sprintf("user:%d:mnodes", id)).Val(); got != each {
					t.Errorf("%s cut after %d bytes: user %d has %d members, want %d", name, after, id, got, each)
				}
			}
		}
	}
}

func TestSyncOfTemplates(t *testing.T) {
	p := newPair(t, redistest.Flavor{},
		`sponsor.keys "user:<id>:mnodes user:<id>:*"`, `sponsor.keys-unfiltered "news site:* badge:<id>"`)
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7", "["))
	for _, key := range []string{
		"user:7:mnodes", "user:7:list:a", "user:7:list:b", "user:[:x", "user:8:mnodes", "user:8:list:a", "user:7",
		"news", "news:1", "site:a", "site:b", "badge:7", "badge:8", "other",
	} {
		must(t, p.l, cmd("SADD", key, "x"))
	}
	wantCounts(t, p.sync(t, "USER", "7"), map[string]int64{"keys": 5})
	wantKeys(t, p.r, sponsorsKey, "user:7:mnodes", "user:7:list:a", "user:7:list:b", "badge:7")
	wantCounts(t, p.sync(t), map[string]int64{"keys": 10})
	wantKeys(t, p.r, sponsorsKey, "user:7:mnodes", "user:7:list:a", "user:7:list:b", "user:[:x", "badge:7",
		"news", "site:a", "site:b", "badge:8")
}

// TestR1_SyncTriesAgainAfterLeaving: what SYNC has read already, and could not send, is
// not sent when its owner has left meanwhile.
func TestR1_SyncTriesAgainAfterLeaving(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: append(remoteConf(remote, proxy.Host(), proxy.Port()), `sponsor.keys "user:<id>:x:*"`)})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7", "9"))
	pipelined(t, p.l, func(yield func(...any)) {
		for i := range 1000 {
			yield("SADD", fmt.Sprintf("user:9:x:%d", i), "secret")
		}
	})
	p.waitForSponsors(t, 2)
	proxy.Latency(100 * time.Millisecond)
	done := make(chan map[string]any)
	go func() { done <- p.sync(t) }()
	redistest.Eventually(t, soon, func() error {
		if n := statusInt(t, p.l, "sync_total"); n < 1000 {
			return fmt.Errorf("SYNC has found %d keys", n)
		}
		return nil
	})
	proxy.Refuse()
	proxy.CloseAll()
	before := p.r.DBSize(t.Context()).Val()
	must(t, p.l, cmd("SREM", sponsorsKey, "9"))
	p.waitForSponsors(t, 1)
	proxy.Latency(0)
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	result := <-done
	if after := p.r.DBSize(t.Context()).Val(); after > before+1 { // the set of sponsors
		t.Errorf("the remote has %d keys, and had %d when their owner left (%v)", after, before, result)
	}
}

// TestR1_SyncAfterLeaving: a SYNC under way copies no more keys of who has left.
func TestR1_SyncAfterLeaving(t *testing.T) {
	const keys = 100_000
	p := newPair(t, redistest.Flavor{}, `sponsor.keys "user:<id>:x:*"`)
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7", "9"))
	pipelined(t, p.l, func(yield func(...any)) {
		for i := range keys {
			yield("SADD", fmt.Sprintf("user:9:x:%d", i), "secret")
		}
	})
	p.waitForSponsors(t, 2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.sync(t)
	}()
	redistest.Eventually(t, soon, func() error {
		if n := p.r.DBSize(t.Context()).Val(); n < 1000 {
			return fmt.Errorf("the remote has %d keys", n)
		}
		return nil
	})
	must(t, p.l, cmd("SREM", sponsorsKey, "9"))
	left := p.r.DBSize(t.Context()).Val()
	<-done
	// Batches that were on their way in that moment may be there.
	if n := p.r.DBSize(t.Context()).Val(); n > left+4*4*256 {
		t.Errorf("the remote has %d keys, and had %d when their owner left", n, left)
	}
	if left > keys/2 {
		t.Errorf("%d of %d keys were there already: this has shown nothing", left, keys)
	}
}
