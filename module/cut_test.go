package main_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// cutWorkers are how many pairs share the positions of TestR2_CutAtEveryByte.
const cutWorkers = 8

// TestR2_CutAtEveryByte cuts the connection at each byte of what write-behind sends,
// and of what the remote answers. There is no TLS, whose records arrive whole or not at
// all.
func TestR2_CutAtEveryByte(t *testing.T) {
	for way, cut := range map[string]func(*redistest.Proxy, int64){
		"requests": (*redistest.Proxy).CutAfter,
		"replies":  (*redistest.Proxy).CutReplyAfter,
	} {
		var work sync.WaitGroup // not t.Parallel: they wait most of the time
		for worker := range int64(cutWorkers) {
			work.Go(func() {
				t.Run(fmt.Sprintf("%s of worker %d", way, worker), func(t *testing.T) { cutWriteBehind(t, worker, cut) })
			})
		}
		work.Wait()
	}
}

func cutWriteBehind(t *testing.T, worker int64, cut func(*redistest.Proxy, int64)) {
	remote := redistest.New(t, redistest.Config{Name: "remote"})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: []string{
		"sponsor.remote-host " + proxy.Host(), fmt.Sprintf("sponsor.remote-port %d", proxy.Port()), writeBehind,
	}})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7", "8"))
	p.safe(t)
	keys := []string{"user_details:7", "user:7", "user:7:mnodes", "user:8", "user:8:mnodes"}
	cuts := 0
	for at := worker; ; at += cutWorkers {
		cut(proxy, at)
		_, err := p.l.Pipelined(t.Context(), func(c redis.Pipeliner) error {
			for _, args := range [][]any{
				cmd("HSET", keys[0], "email", at, fmt.Sprint("f", at), at),
				cmd("HDEL", keys[0], fmt.Sprint("f", at-cutWorkers)),
				cmd("SET", keys[1], at),
				cmd("SADD", keys[2], at, at+1),
				cmd("SREM", keys[2], at-cutWorkers),
				cmd("DEL", keys[3]),
				cmd("RPUSH", keys[3], at, "\xff\r\n"),
				cmd("ZADD", keys[4], at, "z"),
				cmd("EXPIRE", keys[4], 1000+at),
			} {
				c.Do(t.Context(), args...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		p.safe(t)
		p.wantSame(t, keys...)
		if t.Failed() {
			t.Fatalf("the cut was after %d bytes", at)
		}
		if proxy.Cutting() {
			break // all that was sent was less
		}
		cuts++
	}
	if cuts < 5 {
		t.Errorf("%d cuts, want more: has anything been sent?", cuts)
	}
}
