package redistest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between clients and an address, forwards bytes both ways and
// fails when told to. It does not look into the bytes, so TLS passes through.
// All methods may be called from several goroutines; a fault is in force when
// its method returns. While the target is down, clients are reset, sometimes
// while they connect.
type Proxy struct {
	target string
	addr   string
	port   *Port
	wg     sync.WaitGroup // the goroutines of the listener and of all links

	mu       sync.Mutex
	listener net.Listener // nil while refusing
	links    map[*link]struct{}
	closed   bool
	latency  time.Duration
	silent   bool
	accepted int
	flows    [2]flow
}

// flow is one direction, over all links together.
type flow struct {
	forwarded int64
	cutting   bool
	left      int64 // bytes until the cut, if cutting
}

const (
	toServer = iota
	toClient
)

// link is one client's connection and its counterpart.
type link struct {
	client net.Conn

	mu     sync.Mutex
	server net.Conn // nil until dialled, and for one accepted in silence
	isCut  bool     // the client is gone, the server may still read and answer
	dead   bool     // both are gone

	gone chan struct{} // closed when dead

	// Guarded by Proxy.mu.
	swallowed bool // lost bytes to Silent
	stopped   bool // forwards nothing more: a cut is on its way
}

// NewProxy starts a proxy in front of target, for example Server.Addr, and
// closes it at the end of the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := StartProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// StartProxy starts a proxy in front of target. The caller must Close it.
func StartProxy(target string) (*Proxy, error) {
	reserved, err := ReservePort()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		target: target,
		addr:   fmt.Sprintf("127.0.0.1:%d", reserved.Number),
		port:   reserved,
		links:  make(map[*link]struct{}),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.listen(); err != nil {
		reserved.Release()
		return nil, err
	}
	return p, nil
}

// Addr returns the address to connect to instead of the target.
func (p *Proxy) Addr() string { return p.addr }

// Host returns 127.0.0.1.
func (p *Proxy) Host() string { return "127.0.0.1" }

// Port returns the port of Addr.
func (p *Proxy) Port() int { return p.port.Number }

// Latency delays every byte by d in each direction, from now on; it does not
// lower the throughput. Zero ends it.
func (p *Proxy) Latency(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// CutAfter lets n more bytes go towards the server, over all connections
// together, and then cuts the connection that sent the last of them: the
// server gets exactly those bytes, and the client a reset instead of what the
// server answers. It does so once; after that all is well again. Zero cuts
// before the next byte.
func (p *Proxy) CutAfter(n int64) { p.cut(toServer, n) }

// CutReplyAfter lets n more bytes go towards the clients and then cuts the
// connection that got the last of them, once, like CutAfter. What the server
// was sent before it has executed.
func (p *Proxy) CutReplyAfter(n int64) { p.cut(toClient, n) }

func (p *Proxy) cut(direction int, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows[direction].cutting, p.flows[direction].left = true, n
}

// Cutting reports whether a cut that was asked for is still to come.
func (p *Proxy) Cutting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flows[toServer].cutting || p.flows[toClient].cutting
}

// Refuse resets all connections and refuses new ones.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	p.resetLinks(func(*link) bool { return true })
}

// Silent swallows all bytes of all connections in both directions. New
// connections are accepted, and answered nothing.
func (p *Proxy) Silent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// Heal ends all faults. It resets the connections that Silent made lose
// bytes, since their streams have holes; the others go on.
func (p *Proxy) Heal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency, p.silent = 0, false
	p.flows[toServer].cutting, p.flows[toClient].cutting = false, false
	p.resetLinks(func(l *link) bool { return l.swallowed })
	if p.listener != nil || p.closed {
		return nil
	}
	return p.listen()
}

// CloseAll resets all connections. New ones are accepted.
func (p *Proxy) CloseAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resetLinks(func(*link) bool { return true })
}

// Connections returns how many connections there are now.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Accepted returns how many connections there have been.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Forwarded returns how many bytes went towards the server and towards the
// clients, so that a test can walk a cut over all of them.
func (p *Proxy) Forwarded() (requests, replies int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flows[toServer].forwarded, p.flows[toClient].forwarded
}

// Close ends the proxy and all its connections, and waits. Twice does no
// harm.
func (p *Proxy) Close() {
	p.mu.Lock()
	already := p.closed
	p.closed = true
	p.mu.Unlock()
	p.Refuse()
	p.wg.Wait()
	if !already {
		p.port.Release()
	}
}

// resetLinks resets the links that match. The caller holds p.mu.
func (p *Proxy) resetLinks(match func(*link) bool) {
	for l := range p.links {
		if match(l) {
			l.reset()
			delete(p.links, l)
		}
	}
}

// listen opens the listener. The caller holds p.mu.
func (p *Proxy) listen() error {
	ln, err := net.Listen("tcp", p.addr)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	p.listener = ln
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // Refuse has closed it
			}
			p.accept(ln, c)
		}
	})
	return nil
}

// accept takes a client that came by ln.
func (p *Proxy) accept(ln net.Listener, c net.Conn) {
	l := &link{client: c, gone: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != ln {
		reset(c) // accepted while Refuse was called
		return
	}
	p.accepted++
	p.links[l] = struct{}{}
	if p.silent {
		l.swallowed = true
		p.wg.Go(func() {
			defer p.drop(l)
			_, _ = io.Copy(io.Discard, l.client)
		})
		return
	}
	p.wg.Go(func() { p.serve(l) })
}

// serve forwards both ways until both have ended.
func (p *Proxy) serve(l *link) {
	defer p.drop(l)
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil || !l.connect(server) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(l, toServer, l.client, server) })
	wg.Go(func() { p.pump(l, toClient, server, l.client) })
	wg.Wait()
}

// drop forgets l and closes what is still open of it.
func (p *Proxy) drop(l *link) {
	l.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// chunk is a piece of a stream on its way.
type chunk struct {
	bytes []byte
	due   time.Time
	cut   bool // the connection is to be cut behind it
}

// pump forwards from src to dst. Reading and writing are apart, so that a
// latency delays bytes and does not slow them down.
func (p *Proxy) pump(l *link, direction int, src, dst net.Conn) {
	chunks := make(chan chunk, 1024)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(chunks)
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			if n > 0 {
				c, ok := p.pass(l, direction, buf[:n])
				if ok {
					select {
					case chunks <- c:
					case <-l.gone:
						return
					}
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				l.fail()
				return
			}
		}
	})
	wg.Go(func() {
		for c := range chunks {
			if !l.wait(c.due) {
				continue // dead: let the reader end
			}
			if _, err := dst.Write(c.bytes); err != nil {
				l.fail()
				continue
			}
			if c.cut {
				l.cut()
			}
		}
		closeWrite(dst)
	})
	wg.Wait()
}

// pass decides what becomes of bytes that were read. It returns false if
// nothing does.
func (p *Proxy) pass(l *link, direction int, bytes []byte) (chunk, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.stopped {
		return chunk{}, false
	}
	if p.silent {
		l.swallowed = true
		return chunk{}, false
	}
	c := chunk{due: time.Now().Add(p.latency)}
	f := &p.flows[direction]
	if f.cutting && f.left <= int64(len(bytes)) {
		bytes = bytes[:f.left]
		f.cutting, c.cut, l.stopped = false, true, true
	}
	f.left -= int64(len(bytes))
	f.forwarded += int64(len(bytes))
	c.bytes = append([]byte(nil), bytes...)
	return c, true
}

// connect gives the link its server side. It returns false if the link is
// dead.
func (l *link) connect(server net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		server.Close()
		return false
	}
	l.server = server
	return true
}

// wait returns at due, or false when the link is dead.
func (l *link) wait(due time.Time) bool {
	d := time.Until(due)
	if d <= 0 {
		select {
		case <-l.gone:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.gone:
		return false
	}
}

// cut resets the client and lets the server read what it was sent.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return
	}
	l.isCut = true
	reset(l.client)
	// The server sees the end of the stream behind the last byte. Its
	// answers are read and dropped until it hangs up: a reset now could
	// overtake the bytes.
	closeWrite(l.server)
}

// fail ends both sides after an error on one, unless that is the client
// which a cut has taken away.
func (l *link) fail() {
	l.mu.Lock()
	isCut := l.isCut
	l.mu.Unlock()
	if !isCut {
		l.reset()
	}
}

// reset ends both sides at once. Twice does no harm.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return
	}
	l.dead = true
	close(l.gone)
	reset(l.client)
	if l.server != nil {
		reset(l.server)
	}
}

// reset closes a TCP connection with RST.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only if c is closed already
	}
	c.Close()
}

// closeWrite ends the stream towards the peer.
func closeWrite(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // fails only if c is closed already
	}
}
