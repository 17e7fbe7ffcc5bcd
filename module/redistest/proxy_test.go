package redistest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// proxied returns a server and a proxy in front of its port.
func proxied(t *testing.T) (*redistest.Server, *redistest.Proxy) {
	t.Helper()
	s := redistest.New(t, redistest.Config{})
	return s, redistest.NewProxy(t, s.Addr())
}

// through returns a client that goes through p and tries each command once.
func through(s *redistest.Server, p *redistest.Proxy) *redis.Client {
	return s.RemoteClient(func(o *redis.Options) {
		o.Addr = p.Addr()
		o.MaxRetries = -1
		o.DialerRetries = 1
		o.DialTimeout = 5 * time.Second
		o.ReadTimeout = 5 * time.Second
	})
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("received %q, %v, want %q", got[:n], err, want)
	}
}

func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	rest, err := io.ReadAll(c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("received %q, %v, want a reset", rest, err)
	}
}

func TestProxy_ForwardsAndCounts(t *testing.T) {
	s, p := proxied(t)
	client := through(s, p)
	value := strings.Repeat("x", 5<<20)
	if err := client.Set(t.Context(), "k", value, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != value {
		t.Errorf("GET = %d bytes, %v", len(got), err)
	}
	if p.Accepted() != 1 || p.Connections() != 1 {
		t.Errorf("accepted %d, connections %d, want 1, 1", p.Accepted(), p.Connections())
	}
	if requests, replies := p.Forwarded(); requests < 5<<20 || replies < 5<<20 {
		t.Errorf("forwarded %d, %d", requests, replies)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, 5*time.Second, func() error {
		if n := p.Connections(); n != 0 {
			return fmt.Errorf("%d connections after the client has gone", n)
		}
		return nil
	})
}

func TestProxy_Latency(t *testing.T) {
	_, p := proxied(t)
	c := dial(t, p.Addr())
	send(t, c, "PING\r\n")
	receive(t, c, "+PONG\r\n")

	const latency = 60 * time.Millisecond
	p.Latency(latency)
	start := time.Now()
	send(t, c, "PING\r\n")
	receive(t, c, "+PONG\r\n")
	if took := time.Since(start); took < 2*latency {
		t.Errorf("an answer took %v, want at least %v", took, 2*latency)
	}
	// A delay of each chunk in turn would take 2 s for one way alone.
	start = time.Now()
	for range 32 {
		send(t, c, strings.Repeat("PING\r\n", 5000))
	}
	receive(t, c, strings.Repeat("+PONG\r\n", 32*5000))
	if took := time.Since(start); took > 32*latency {
		t.Errorf("a megabyte took %v: the latency slows it down", took)
	}
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	send(t, c, "PING\r\n")
	receive(t, c, "+PONG\r\n")
}

// TestProxy_CutAfter walks a cut over every byte of a pipeline. The server
// must have executed the commands that are whole, and only those.
func TestProxy_CutAfter(t *testing.T) {
	s, p := proxied(t)
	client := s.Client()
	const command = "INCR n\r\n"
	for n := range 3*len(command) + 1 {
		if err := client.Del(t.Context(), "n").Err(); err != nil {
			t.Fatal(err)
		}
		p.CutAfter(int64(n))
		c := dial(t, p.Addr())
		send(t, c, strings.Repeat(command, 4))
		wantReset(t, c)
		if p.Cutting() {
			t.Errorf("cut after %d: still to come", n)
		}
		redistest.Eventually(t, 5*time.Second, func() error {
			if open := p.Connections(); open != 0 {
				return fmt.Errorf("cut after %d: %d connections", n, open)
			}
			return nil
		})
		if got, _ := client.Get(t.Context(), "n").Int(); got != n/len(command) {
			t.Errorf("cut after %d: %d commands executed, want %d", n, got, n/len(command))
		}
	}
	c := dial(t, p.Addr())
	send(t, c, "PING\r\n")
	receive(t, c, "+PONG\r\n")
}

func TestProxy_CutReplyAfter(t *testing.T) {
	s, p := proxied(t)
	c, other := dial(t, p.Addr()), dial(t, p.Addr())
	send(t, other, "PING\r\n")
	receive(t, other, "+PONG\r\n")
	p.CutReplyAfter(10)
	send(t, c, strings.Repeat("INCR n\r\n", 4))
	// How much of the 10 bytes the reset leaves to read is the kernel's
	// choice.
	wantReset(t, c)
	send(t, other, "PING\r\n")
	receive(t, other, "+PONG\r\n")
	if got, err := s.Client().Get(t.Context(), "n").Int(); err != nil || got != 4 {
		t.Errorf("executed %d, %v, want 4", got, err)
	}
}

func TestProxy_RefuseAndHeal(t *testing.T) {
	_, p := proxied(t)
	c := dial(t, p.Addr())
	send(t, c, "PING\r\n")
	receive(t, c, "+PONG\r\n")
	p.Refuse()
	wantReset(t, c)
	for range 3 {
		if c, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				c.Close()
			}
			t.Fatalf("dial: %v, want refused", err)
		}
	}
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	c = dial(t, p.Addr())
	send(t, c, "PING\r\n")
	receive(t, c, "+PONG\r\n")
}

func TestProxy_SilentAndHeal(t *testing.T) {
	s, p := proxied(t)
	loser, idle := dial(t, p.Addr()), dial(t, p.Addr())
	for _, c := range []net.Conn{loser, idle} {
		send(t, c, "PING\r\n")
		receive(t, c, "+PONG\r\n")
	}
	p.Silent()
	late := dial(t, p.Addr())
	for _, c := range []net.Conn{loser, late} {
		send(t, c, "INCR n\r\n")
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(c).ReadByte(); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
			t.Errorf("read in silence: %v, want a timeout", err)
		}
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	wantReset(t, loser)
	wantReset(t, late)
	send(t, idle, "EXISTS n\r\n")
	receive(t, idle, ":0\r\n")
	if !s.Alive() {
		t.Error("the server has gone")
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestProxy_TargetDown(t *testing.T) {
	s, p := proxied(t)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	// The reset may come while we connect already.
	c, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer c.Close()
		_, err = io.ReadAll(c)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("connecting to a target that is down: %v, want a reset", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	c = dial(t, p.Addr())
	send(t, c, "PING\r\n")
	receive(t, c, "+PONG\r\n")
	p.CloseAll()
	wantReset(t, c)
	if p.Connections() != 0 || p.Accepted() != 2 {
		t.Errorf("connections %d, accepted %d, want 0, 2", p.Connections(), p.Accepted())
	}
}

func TestProxy_TLS(t *testing.T) {
	s := redistest.Remote(t, redistest.Config{})
	p := redistest.NewProxy(t, s.Addr())
	client := through(s, p)
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	p.CutReplyAfter(0)
	if err := client.Set(t.Context(), "k", "w", 0).Err(); err == nil {
		t.Error("SET answered through a cut")
	}
	redistest.Eventually(t, 5*time.Second, func() error {
		if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != "w" {
			return fmt.Errorf("GET = %q, %w", got, err)
		}
		return nil
	})
}
