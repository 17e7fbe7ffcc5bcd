package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// progressEvery is how often a line tells how it goes.
const progressEvery = 10 * time.Second

// progress prints a line every so often, until ctx ends.
func (s *soak) progress(ctx context.Context) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			fmt.Fprintln(s.out, s.line())
		}
	}
}

// line is how it goes.
func (s *soak) line() string {
	tally, last := s.faults.happened()
	faults := 0
	for _, n := range tally {
		faults += n
	}
	wrong, _ := s.world.wrongs()
	c := &s.world.counts
	s.sampler.mu.Lock()
	defer s.sampler.mu.Unlock()
	now := s.sampler.last
	lag := time.Duration(0)
	if n := len(s.sampler.lags); n > 0 {
		lag = s.sampler.lags[n-1]
	}
	return fmt.Sprintf("%5s  %d commands, %d reads, %d requests; %d faults, last %s; pending %d, lag %v; heap %.0f MiB, RSS %.0f MiB, %.0f goroutines, %.0f fds; wrong %d",
		time.Since(s.begun).Round(time.Second), c.commands.Load(), c.reads.Load(), c.requests.Load(), faults, last,
		s.sampler.pending, lag, now[localHeap]/mib, now[localRSS]/mib, now[localGoroutines], now[localFiles], wrong)
}

// total is what the module has counted over all its lives.
func (s *sampler) total(name string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters.total(name)
}

// lag is a percentile of what was seen, and the most.
func (s *sampler) lag() (p50, p99, most time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lags := slices.Sorted(slices.Values(s.lags))
	if len(lags) == 0 {
		return 0, 0, 0
	}
	at := func(p float64) time.Duration { return lags[min(len(lags)-1, int(p*float64(len(lags))))] }
	return at(0.5), at(0.99), lags[len(lags)-1]
}

// report prints what was done and what came out. It returns whether all has held. If the
// time was not over, nothing is said about memory.
func (s *soak) report(complete bool) bool {
	c := &s.world.counts
	p50, p99, most := s.sampler.lag()
	rows := [][]string{
		{"what", "figure"},
		{"load", time.Since(s.begun).Round(time.Second).String()},
		{"commands", fmt.Sprintf("%d (%d not run, %d without an answer)", c.commands.Load(), c.refused.Load(), c.broken.Load())},
		{"reads that were checked", fmt.Sprint(c.reads.Load())},
		{"requests to the API", fmt.Sprint(c.requests.Load())},
		{"unrelated commands", fmt.Sprint(c.unrelated.Load())},
		{"people who came or left", fmt.Sprint(c.moves.Load())},
		{"lag p50, p99, most", fmt.Sprintf("%v, %v, %v", p50, p99, most)},
	}
	for _, name := range counted {
		rows = append(rows, []string{"module: " + name, fmt.Sprint(s.sampler.total(name))})
	}
	rows = append(rows,
		[]string{"SPONSOR.VERIFY at the end", s.verdict},
		[]string{"keys compared with the model", fmt.Sprint(s.compared)},
		[]string{"keys on the remote, all of sponsors", fmt.Sprint(s.onRemote)},
	)
	fmt.Fprintf(s.out, "\n%s\n%s", table(rows), s.faults.table())
	flat := true
	for i, title := range []string{"young, early to young, late", "young, late to old, late"} {
		if s.growths[i] == nil {
			continue
		}
		fmt.Fprintf(s.out, "\n%s", growthTable(title, s.growths[i]))
		for _, g := range s.growths[i] {
			flat = flat && g.flat()
		}
	}
	count, texts := s.world.wrongs()
	if complete && s.growths[1] == nil && count == 0 {
		flat = false
		fmt.Fprintln(s.out, "\nmemory could not be compared")
	}
	for _, text := range texts {
		fmt.Fprintf(s.out, "\nWRONG %s\n", text)
	}
	if more := count - len(texts); more > 0 {
		fmt.Fprintf(s.out, "\nand %d more\n", more)
	}
	fmt.Fprintf(s.out, "\nwrong: %d; flat: %v; seed %d\n", count, map[bool]string{true: "yes", false: "no"}[flat], s.seed)
	return count == 0 && flat
}

// table is the faults and how long each has taken at most, until the remote was reached
// again.
func (f *faults) table() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	rows := [][]string{{"fault", "times", "longest, until connected again"}}
	for _, name := range slices.Sorted(maps.Keys(f.tally)) {
		rows = append(rows, []string{name, fmt.Sprint(f.tally[name]), f.longer[name].Round(time.Millisecond).String()})
	}
	return table(rows)
}

func growthTable(title string, growths []growth) string {
	rows := [][]string{{title, "before", "after", "at most", "flat"}}
	for _, g := range growths {
		verdict := "yes"
		if !g.flat() {
			verdict = "NO"
		}
		rows = append(rows, []string{g.name, g.text(g.before), g.text(g.after), g.allowed(), verdict})
	}
	return table(rows)
}

// table is rows as a table in Markdown, in columns that are straight without it too.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, cells := range rows {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for i, cells := range rows {
		writeRow(&b, cells, widths, " ")
		if i == 0 {
			writeRow(&b, make([]string, len(cells)), widths, "-")
		}
	}
	return b.String()
}

func writeRow(b *strings.Builder, cells []string, widths []int, filler string) {
	for i, cell := range cells {
		fmt.Fprintf(b, "| %s%s ", cell, strings.Repeat(filler, widths[i]-utf8.RuneCountInString(cell)))
	}
	b.WriteString("|\n")
}
