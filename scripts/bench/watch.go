package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// arrivalTimeout is how long after the last write its member must have been seen.
const arrivalTimeout = 10 * time.Second

// A watcher sees numbered members arrive at a server, by MONITOR.
type watcher struct {
	conn   *conn
	prefix string
	seen   []time.Time // by number; zero until it is seen
	left   int
	done   chan struct{} // closed when all were seen, or err tells why not
	err    error
}

// watch begins to watch for members that are prefix and a number below number.
func watch(ctx context.Context, s *server, prefix string, number int) (*watcher, error) {
	c, err := dial(ctx, s)
	if err != nil {
		return nil, err
	}
	if _, err := c.do(encode("MONITOR")); err != nil {
		c.close()
		return nil, err
	}
	w := &watcher{conn: c, prefix: prefix, seen: make([]time.Time, number), left: number, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for w.left > 0 && w.err == nil {
			var line string
			line, w.err = w.conn.line()
			w.note(line, time.Now())
		}
	}()
	return w, nil
}

// note notes the members in a line of MONITOR, such as
//
//	1700000000.123456 [0 127.0.0.1:50000] "SADD" "user:7:mnodes" "run-1-42"
func (w *watcher) note(line string, now time.Time) {
	for word := range strings.SplitSeq(line, " ") {
		digits, ok := strings.CutPrefix(strings.Trim(word, `"`), w.prefix)
		if !ok {
			continue
		}
		i, err := strconv.Atoi(digits)
		if err == nil && i < len(w.seen) && w.seen[i].IsZero() {
			w.seen[i] = now
			w.left--
		}
	}
}

// wait waits until all members were seen, and returns when each was.
func (w *watcher) wait(ctx context.Context) ([]time.Time, error) {
	timer := time.NewTimer(arrivalTimeout)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	w.stop()
	if w.left > 0 {
		return nil, errors.Join(fmt.Errorf("%d of %d members were not seen on the remote", w.left, len(w.seen)), ctx.Err(), w.err)
	}
	return w.seen, nil
}

// stop ends the watching.
func (w *watcher) stop() {
	w.conn.close()
	<-w.done
}
