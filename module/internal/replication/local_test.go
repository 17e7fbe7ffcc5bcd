package replication_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A localServer is replication.Local over a real server. All that uses the data
// set goes through one connection, one at a time, as on a server's main thread,
// and each command's keyspace events reach the engine before the next command.
type localServer struct {
	server *redistest.Server
	engine *replication.Engine

	mu      sync.Mutex // who has it has the data set
	conn    net.Conn
	reader  *bufio.Reader
	events  net.Conn
	pushes  *bufio.Reader
	unit    uint64 // of the last command
	between func() // see beforeEach
	after   func() // see afterEach
	broken  error

	foreign string // a key that looks like a value of a module's own type
}

func newLocalServer(t *testing.T) *localServer {
	t.Helper()
	l := &localServer{server: redistest.New(t, redistest.Config{
		Name: "local", Conf: []string{`notify-keyspace-events "EAmn"`},
	})}
	l.conn, l.reader = dial(t, l.server)
	l.events, l.pushes = dial(t, l.server)
	if err := send(l.events, "PSUBSCRIBE", "__keyevent@0__:*"); err != nil {
		t.Fatal(err)
	}
	if _, err := readReply(l.pushes); err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, server *redistest.Server) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("unix", server.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, bufio.NewReaderSize(conn, 64<<10)
}

func (l *localServer) Do(f func(replication.Data)) error {
	l.mu.Lock()
	between := l.between
	l.mu.Unlock()
	if between != nil {
		between()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f(localData{l})
	if l.after != nil {
		l.after()
	}
	return l.broken
}

func (l *localServer) Unsettle() {}

func (l *localServer) Commands() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unit
}

// beforeEach has f called before each Do, while nobody has the data set, and
// afterEach after each, before anybody else has it.
func (l *localServer) beforeEach(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.between = f
}

func (l *localServer) afterEach(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after = f
}

// client runs a command as a client would, and returns its reply.
func (l *localServer) client(name string, args ...string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unit++
	reply, err := l.run(func(event string) (replication.Event, bool) {
		ev := replication.Event{What: meaning(event), Unit: l.unit}
		ev.Shrinking = slices.Contains([]string{"srem", "spop", "hdel", "zrem", "lpop", "rpop"}, event)
		if ev.What == replication.Written && len(args) > 1 {
			ev.Kind, ev.Elements = elementsOf(name, args[1:])
		}
		return ev, true
	}, name, args...)
	return reply, errors.Join(err, l.broken)
}

// elementsOf is what the arguments of a command tell.
func elementsOf(name string, args []string) (journal.Kind, map[string]journal.Element) {
	m := make(map[string]journal.Element)
	switch name {
	case "SADD", "SREM", "HDEL":
		for _, arg := range args {
			m[arg] = journal.Element{Present: name == "SADD"}
		}
	case "HSET":
		for pair := range slices.Chunk(args, 2) {
			m[pair[0]] = journal.Element{Present: true, Value: pair[1]}
		}
	default:
		return journal.NoKind, nil
	}
	if name[0] == 'S' {
		return journal.Set, m
	}
	return journal.Hash, m
}

// must runs a command that must work.
func (l *localServer) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	reply, err := l.client(name, args...)
	if err = errors.Join(err, resp.Err(reply)); err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return reply
}

func (l *localServer) items(t *testing.T, name, key string) []string {
	t.Helper()
	items, err := resp.Strings(l.must(t, name, key))
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// lose removes a key as eviction does.
func (l *localServer) lose(t *testing.T, keys ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.run(func(string) (replication.Event, bool) {
		return replication.Event{What: replication.Evicted}, true
	}, "DEL", keys...)
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a command, and then tells the engine of the events that it has caused.
// The caller holds l.mu.
func (l *localServer) run(event func(name string) (ev replication.Event, told bool), name string, args ...string) (string, error) {
	if err := send(l.conn, append([]string{name}, args...)...); err != nil {
		return "", err
	}
	reply, err := readReply(l.reader)
	if err != nil {
		return "", err
	}
	return reply, l.tell(event)
}

// tell hands over all events up to now: PING is answered behind them.
func (l *localServer) tell(event func(name string) (ev replication.Event, told bool)) error {
	if err := send(l.events, "PING"); err != nil {
		return err
	}
	var events []replication.Event
	for {
		reply, err := readReply(l.pushes)
		if err != nil {
			return err
		}
		parts, err := resp.Strings(reply)
		if err != nil {
			return err
		}
		if len(parts) == 2 {
			break // PONG
		}
		if ev, told := event(strings.TrimPrefix(parts[2], "__keyevent@0__:")); told {
			ev.Key = parts[3]
			events = append(events, ev)
		}
	}
	for _, ev := range events {
		if l.engine == nil {
			break
		}
		if mark := l.engine.KeyEvent(ev, localData{l}); mark != "" {
			if _, err := l.run(untold, "HSET", journal.Key, ev.Key, mark); err != nil {
				return err
			}
		}
	}
	return nil
}

// untold keeps what the module does itself from being told to it.
func untold(string) (ev replication.Event, told bool) { return ev, false }

// meaning is what the module makes of an event.
func meaning(event string) replication.KeyEvent {
	switch event {
	case "keymiss":
		return replication.Missed
	case "new":
		return replication.Created
	case "del":
		return replication.Deleted
	case "rename_from", "move_from":
		return replication.MovedAway
	case "set", "rename_to", "sinterstore":
		return replication.Replaced
	case "expire", "persist":
		return replication.ExpirySet
	case "expired":
		return replication.Expired
	case "evicted":
		return replication.Evicted
	}
	return replication.Written
}

// localData is replication.Data for the time of one Do.
type localData struct{ *localServer }

func (d localData) Read(name string, args ...string) (string, error) {
	return d.run(untold, name, args...)
}

func (d localData) Write(name string, args ...string) (string, error) {
	return d.run(untold, name, args...)
}

func (d localData) WriteAlways(name string, args ...string) (string, error) {
	return d.Write(name, args...)
}

func (d localData) Settle(string) {}

func (d localData) Stat(key string) replication.Stat {
	var stat replication.Stat
	ask := func(name string) string {
		reply, err := d.run(untold, name, key)
		if err != nil {
			d.broken = err
		}
		return strings.TrimSpace(reply)
	}
	stat.Type = strings.TrimPrefix(ask("TYPE"), "+")
	if key == d.foreign {
		return replication.Stat{Type: "a module's type", Length: 1}
	}
	if length, ok := map[string]string{
		"set": "SCARD", "hash": "HLEN", "string": "STRLEN", "list": "LLEN", "zset": "ZCARD", "stream": "XLEN",
	}[stat.Type]; ok {
		stat.Length, _ = strconv.Atoi(strings.TrimPrefix(ask(length), ":"))
		if at, _ := strconv.ParseInt(strings.TrimPrefix(ask("PEXPIRETIME"), ":"), 10, 64); at > 0 {
			stat.ExpireAt = time.UnixMilli(at)
		}
	}
	return stat
}

func send(w io.Writer, args ...string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// readReply reads one reply in RESP2, as bytes.
func readReply(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for replies := 1; replies > 0; replies-- {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		n, _ := strconv.ParseInt(strings.TrimRight(line[1:], "\r\n"), 10, 64)
		switch line[0] {
		case '*':
			replies += int(max(n, 0))
		case '$':
			if n < 0 {
				continue
			}
			if _, err := io.CopyN(&b, r, n+2); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

func sorted(items []string) []string {
	slices.Sort(items)
	return items
}
