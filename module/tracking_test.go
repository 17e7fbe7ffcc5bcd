package main_test

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A rawConn shows replies and pushes in the order in which they come.
type rawConn struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dialRaw(t *testing.T, server *redistest.Server) *rawConn {
	t.Helper()
	conn, err := net.Dial("unix", server.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &rawConn{t, conn, bufio.NewReader(conn)}
}

func (c *rawConn) send(args ...string) {
	c.t.Helper()
	text := fmt.Sprintf("*%d\r\n", len(args))
	for _, arg := range args {
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := c.Write([]byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// next is the next reply or push, its parts separated by spaces, with the sign of its type.
func (c *rawConn) next() string {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		c.t.Fatal(err)
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	line = strings.TrimRight(line, "\r\n")
	n, _ := strconv.Atoi(line[1:])
	switch line[0] {
	case '$':
		text := make([]byte, n+2)
		for i := range text {
			if text[i], err = c.r.ReadByte(); err != nil {
				c.t.Fatal(err)
			}
		}
		return string(text[:n])
	case '*', '~', '>', '%':
		if line[0] == '%' {
			n *= 2
		}
		parts := []string{line[:1]}
		for range n {
			parts = append(parts, c.next())
		}
		return strings.Join(parts, " ")
	}
	return line
}

// TestTracking: a client that caches what it reads is told that a key has come back after it
// has its answer, and of each change after it has read the key again.
func TestTracking(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, "sponsor.read-timeout-ms 20000", `sponsor.keys "user:<id> user:<id>:mnodes user:<id>:x:*"`)
		must(t, p.l, cmd("SADD", "user:7:mnodes", "a"), cmd("HSET", "user:7", "f", "1"), cmd("PEXPIREAT", "user:7", 4_000_000_000_000))
		largeSet(t, p.l, "user:7:x:large", 3)
		p.safe(t)
		c := dialRaw(t, p.local)
		want := func(replies ...string) {
			t.Helper()
			for _, want := range replies {
				if got := c.next(); got != want {
					t.Errorf("the client gets %.100q, want %q", got, want)
				}
			}
		}
		c.send("HELLO", "3")
		c.next()
		c.send("CLIENT", "TRACKING", "ON")
		want("+OK")
		for _, test := range []struct {
			key   string
			read  []string
			reply string
		}{
			{"user:7:mnodes", []string{"SMEMBERS", "user:7:mnodes"}, "~ a"},
			{"user:7", []string{"HGET", "user:7", "f"}, "1"},
			{"user:7:x:large", []string{"SCARD", "user:7:x:large"}, ":3000"},
			{"user:7:mnodes", []string{"SINTER", "user:7:mnodes", "user:7:mnodes"}, "~ a"},
		} {
			must(t, p.l, cmd("FLUSHALL"))
			if got := c.next(); got != "> invalidate _" {
				t.Errorf("FLUSHALL: the client gets %q", got)
			}
			eventuallyMembers(t, p.l, sponsorsKey, "7")
			c.send(test.read...)
			want(test.reply, "> invalidate * "+test.key)
			c.send(test.read...) // it is here now
			want(test.reply)
			must(t, p.l, cmd("TYPE", test.key), cmd("EXPIREAT", test.key, 4_000_000_000))
			want("> invalidate * " + test.key)
			p.safe(t)
			p.wantSame(t, test.key)
		}
		for _, key := range allKeys(t, p.l) {
			if strings.HasPrefix(key, "sponsor:stage") {
				t.Errorf("%s is left", key)
			}
		}
		if n := statusInt(t, p.l, "timeouts"); n != 0 {
			t.Errorf("timeouts = %d", n)
		}
	})
}
