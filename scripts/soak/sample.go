package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A sample is what everything holds at a moment, by the names of flat.go. What could not
// be read, because a process was down, is missing.
type sample map[string]float64

// sampler looks at everything, in every so often.
type sampler struct {
	w     *world
	every time.Duration

	mu       sync.Mutex // guards what follows
	last     sample
	pending  int64
	lags     []time.Duration // at each sample
	counters counters
}

// counters are STATUS's, over all the lives of the module, each of which counts from 0.
type counters struct {
	earlier, now map[string]int64
}

var counted = []string{"acknowledged", "fetched", "misses", "timeouts", "lost", "errors"}

// note takes in what the module counts now. One that has counted back has begun again.
func (c *counters) note(info map[string]string) {
	now := make(map[string]int64)
	for _, name := range counted {
		n, err := strconv.ParseInt(info["sponsor_"+name], 10, 64)
		if err != nil {
			return // the module is not there
		}
		now[name] = n
	}
	if c.earlier == nil {
		c.earlier = make(map[string]int64)
	}
	again := false
	for name, n := range now {
		again = again || n < c.now[name]
	}
	if again {
		for name, n := range c.now {
			c.earlier[name] += n
		}
	}
	c.now = now
}

func (c *counters) total(name string) int64 { return c.earlier[name] + c.now[name] }

func (s *sampler) run(ctx context.Context) {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.take(ctx)
		}
	}
}

// take is a sample, of now.
func (s *sampler) take(ctx context.Context) sample {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	got := make(sample)
	info, err := s.w.info(ctx)
	if err == nil {
		for name, field := range map[string]string{
			localHeap: "sponsor_go_heap_bytes", localGo: "sponsor_go_total_bytes", localTable: "sponsor_table_bytes",
			localGoroutines: "sponsor_goroutines", localUsed: "used_memory",
		} {
			if n, err := strconv.ParseFloat(info[field], 64); err == nil {
				got[name] = n
			}
		}
	}
	for _, p := range []struct {
		pid      int
		rss, fds string
	}{{s.w.local.PID(), localRSS, localFiles}, {s.w.remote.PID(), remoteRSS, remoteFiles}, {s.w.api.process().PID, apiRSS, apiFiles}} {
		if rss, err := residentBytes(p.pid); err == nil {
			got[p.rss] = rss
		}
		if entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.pid), "fd")); err == nil {
			got[p.fds] = float64(len(entries))
		}
	}
	if n, err := metric(ctx, s.w.api.url+"/metrics", "go_goroutines"); err == nil {
		got[apiGoroutines] = n
	}
	if n, err := metric(ctx, s.w.api.url+"/metrics", "go_memstats_heap_alloc_bytes"); err == nil {
		got[apiHeap] = n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = got
	s.counters.note(info)
	s.pending, _ = strconv.ParseInt(info["sponsor_pending_keys"], 10, 64)
	if ms, err := strconv.ParseInt(info["sponsor_lag_ms"], 10, 64); err == nil {
		s.lags = append(s.lags, time.Duration(ms)*time.Millisecond)
	}
	return got
}

// residentBytes is what a process has in memory.
func residentBytes(pid int) (float64, error) {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return findNumber(f, "VmRSS:", 1024)
}

// metric is one number of the API's /metrics.
func metric(ctx context.Context, url, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	n, err := findNumber(response.Body, name, 1)
	_, drained := io.Copy(io.Discard, response.Body) // or the connection cannot serve again
	return n, errors.Join(err, drained)
}

// findNumber is the word behind name, in a line that begins with it.
func findNumber(r io.Reader, name string, unit float64) (float64, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) >= 2 && words[0] == name {
			n, err := strconv.ParseFloat(words[1], 64)
			return n * unit, err
		}
	}
	return 0, fmt.Errorf("no %s: %w", name, lines.Err())
}
