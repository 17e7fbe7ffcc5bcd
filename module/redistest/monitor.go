package redistest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// barrierMessage is what an ECHO of our own says: when MONITOR shows it, it
// has shown all that came before.
const barrierMessage = "redistest-barrier"

// Monitor collects what MONITOR shows of a server. All methods may be called
// from several goroutines.
type Monitor struct {
	t      testing.TB
	server *Server
	conn   *conn
	done   chan struct{} // closed when the reader has ended

	probeMu sync.Mutex
	probe   *conn // for barriers; older than conn, so its AUTH is not shown

	mu       sync.Mutex
	lines    []string
	barriers int // how many were asked for
	reached  int // how many were seen
}

// Monitor begins to collect. It stops at the end of the test, or when the
// server ends.
func (s *Server) Monitor(t testing.TB) *Monitor {
	t.Helper()
	probe, err := s.dial()
	if err != nil {
		t.Fatalf("monitor %s: %v", s.cfg.Name, err)
	}
	c, err := s.dial()
	if err != nil {
		probe.Close()
		t.Fatalf("monitor %s: %v", s.cfg.Name, err)
	}
	answer, err := c.do("MONITOR")
	if err != nil || answer != "+OK" {
		probe.Close()
		c.Close()
		t.Fatalf("monitor %s: %q, %v", s.cfg.Name, answer, err)
	}
	m := &Monitor{t: t, server: s, conn: c, probe: probe, done: make(chan struct{})}
	go m.read()
	t.Cleanup(m.Stop)
	return m
}

func (m *Monitor) read() {
	defer close(m.done)
	for {
		line, err := m.conn.line()
		if err != nil {
			return
		}
		m.mu.Lock()
		if strings.Contains(line, barrierMessage) {
			m.reached++
		} else {
			m.lines = append(m.lines, strings.TrimPrefix(line, "+"))
		}
		m.mu.Unlock()
	}
}

// Lines returns what the server has executed between the call of Monitor and
// this one, a line a command, such as
//
//	1700000000.123456 [0 127.0.0.1:50000] "GET" "key"
//
// It waits until MONITOR has shown all of that. Redis does not show AUTH and
// commands of the category admin.
func (m *Monitor) Lines() []string {
	m.t.Helper()
	m.barrier()
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines)
}

// Matching returns those of Lines that contain text.
func (m *Monitor) Matching(text string) []string {
	m.t.Helper()
	return slices.DeleteFunc(m.Lines(), func(line string) bool { return !strings.Contains(line, text) })
}

// Reset forgets what was collected so far.
func (m *Monitor) Reset() {
	m.t.Helper()
	m.barrier()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = nil
}

// Stop ends the collecting; Lines goes on to return what there is.
func (m *Monitor) Stop() {
	m.conn.Close()
	m.probe.Close()
	<-m.done
}

// barrier returns when all that was executed before is in lines, or nothing
// more can come.
func (m *Monitor) barrier() {
	m.t.Helper()
	select {
	case <-m.done:
		return
	default:
	}
	m.probeMu.Lock()
	defer m.probeMu.Unlock()
	if answer, err := m.probe.do("ECHO", barrierMessage); err != nil || !strings.HasPrefix(answer, "$") {
		return // the server has ended
	}
	if _, err := m.probe.line(); err != nil {
		return
	}
	m.mu.Lock()
	m.barriers++
	number := m.barriers
	m.mu.Unlock()
	Eventually(m.t, 10*time.Second, func() error {
		select {
		case <-m.done:
			return nil
		default:
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.reached < number {
			return fmt.Errorf("MONITOR of %s has shown %d of %d barriers", m.server.cfg.Name, m.reached, number)
		}
		return nil
	})
}
