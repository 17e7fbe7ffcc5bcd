package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// TestR4_DisputedString: what cannot be merged, and was written while it was away,
// replaces nothing on the remote until somebody says so.
func TestR4_DisputedString(t *testing.T) {
	large := strings.Repeat("x", 600<<10)
	for name, value := range map[string]string{"small": "41", "large": large} {
		t.Run(name, func(t *testing.T) {
			p := following(t, redistest.Flavor{}, "sponsor.read-through off")
			must(t, p.l, cmd("SET", "user:7", value))
			p.safe(t)
			must(t, p.l, cmd("FLUSHALL"), cmd("SADD", sponsorsKey, "7"))
			p.waitForSponsors(t, 1)
			must(t, p.l, cmd("APPEND", "user:7", value+"!"))
			redistest.Eventually(t, soon, func() error {
				if n := statusInt(t, p.l, "dead_letters"); n != 1 {
					return fmt.Errorf("dead_letters = %d, want 1", n)
				}
				return nil
			})
			if got := p.r.Get(t.Context(), "user:7").Val(); got != value {
				t.Errorf("the remote has %.20q, want what it had", got)
			}
			if letters := fmt.Sprint(p.l.Do(t.Context(), "SPONSOR.ERRORS").Val()); !strings.Contains(letters, "SPONSOR.RETRY") {
				t.Errorf("ERRORS = %s, want what to do", letters)
			}
			must(t, p.l, cmd("SPONSOR.RETRY", "user:7"))
			p.safe(t)
			p.wantSame(t, "user:7")

			// The same on both sides is no dispute.
			must(t, p.l, cmd("FLUSHALL"), cmd("SADD", sponsorsKey, "7"))
			p.waitForSponsors(t, 1)
			must(t, p.l, cmd("APPEND", "user:7", value+"!"))
			p.safe(t)
			if n := statusInt(t, p.l, "dead_letters"); n != 0 {
				t.Errorf("dead_letters = %d, want none", n)
			}
		})
	}
}

// TestR6_DisputedAtFirstContact: two servers that meet with different strings under
// one key keep both.
func TestR6_DisputedAtFirstContact(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.waitFor(t, "connected")
	must(t, p.r, cmd("SET", "user:7", "theirs"), cmd("SET", "user_details:7", "same"), cmd("RPUSH", "user:7:mnodes", "a", "b"))
	must(t, p.l, cmd("SET", "user:7", "ours"), cmd("SET", "user_details:7", "same"), cmd("RPUSH", "user:7:mnodes", "a", "b"), cmd("SADD", sponsorsKey, "7"))
	p.waitForSponsors(t, 1)
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.write-behind", "yes"))
	redistest.Eventually(t, soon, func() error {
		st, err := status(p.l)
		if st["dead_letters"] != int64(1) || st["pending_keys"] != int64(0) {
			return fmt.Errorf("status = %v, want one dead letter (%w)", st, err)
		}
		return nil
	})
	if got := p.r.Get(t.Context(), "user:7").Val(); got != "theirs" {
		t.Errorf("the remote has %q, want what it had", got)
	}
	must(t, p.l, cmd("SPONSOR.RETRY", "user:7"))
	p.safe(t)
	p.wantSame(t, "user:7", "user_details:7", "user:7:mnodes")
}

// TestDelInMultiOfAStub: DEL is meant also behind another write.
func TestDelInMultiOfAStub(t *testing.T) {
	p, _ := proxied(t, "sponsor.read-through off")
	must(t, p.l, cmd("SET", "user:7", "41"))
	p.safe(t)
	p.loseAll(t)
	tx(t, p.l, cmd("INCR", "user:7"), cmd("DEL", "user:7"))
	p.safe(t)
	if got := p.r.Get(t.Context(), "user:7").Val(); got != "" {
		t.Errorf("DEL has not travelled: the remote has %q", got)
	}
}

// TestRetryDecidesNoDispute: RETRY without names.
func TestRetryDecidesNoDispute(t *testing.T) {
	p, _ := proxied(t, "sponsor.read-through off")
	must(t, p.l, cmd("RPUSH", "user:7", "1", "2", "3"))
	p.safe(t)
	p.loseAll(t)
	must(t, p.l, cmd("RPUSH", "user:7", "4"))
	must(t, p.r, cmd("SET", "user:8", "wrong type"))
	must(t, p.l, cmd("SADD", "user:8", "a"))
	p.waitForDeadLetters(t, 2)
	must(t, p.r, cmd("DEL", "user:8"))
	must(t, p.l, cmd("SPONSOR.RETRY"))
	p.waitForDeadLetters(t, 1)
	if n := p.r.LLen(t.Context(), "user:7").Val(); n != 3 {
		t.Errorf("the remote's list has %d elements, want the 3 that it had", n)
	}
}

// TestNoFalseDispute: one more sponsor, added in MULTI, makes nobody doubt the strings
// of the others.
func TestNoFalseDispute(t *testing.T) {
	p, proxy := proxied(t)
	const n = 500
	pipelined(t, p.l, func(yield func(...any)) {
		for i := range n {
			yield("SADD", sponsorsKey, fmt.Sprintf("s%d", i))
			yield("SET", fmt.Sprintf("user:s%d", i), 41)
		}
	})
	p.safe(t)
	proxy.Latency(3 * time.Millisecond)
	tx(t, p.l, cmd("SADD", sponsorsKey, "9"))
	for i := range n {
		must(t, p.l, cmd("INCR", fmt.Sprintf("user:s%d", i)))
	}
	p.safe(t)
}
