package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// stopGrace is how long a program may take to end after SIGTERM.
const stopGrace = 10 * time.Second

// A program is one of ours that runs beside the servers of a row.
type program struct {
	*redistest.Process
	name   string
	output string // the path of the file with all that it has written
}

// startProgram starts a program of ours and waits until it writes what ready matches,
// whose groups it returns.
func (l *lab) startProgram(ctx context.Context, name string, args, env []string, ready *regexp.Regexp) ([]string, error) {
	path := filepath.Join(l.build, name)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("missing: %s; run make build first", path)
	}
	p := &program{name: name, output: filepath.Join(l.dir, name+".log")}
	var err error
	if p.Process, err = redistest.StartProcess(append([]string{path}, args...), env, l.dir, p.output); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	l.programs = append(l.programs, p)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if groups := ready.FindStringSubmatch(p.log()); groups != nil {
			return groups, nil
		}
		select {
		case <-p.Exited():
			return nil, fmt.Errorf("start %s: it has ended", name) // close shows its log
		case <-ctx.Done():
			return nil, fmt.Errorf("start %s: %w; the end of its log:\n%s", name, ctx.Err(), tail(p.log()))
		case <-tick.C:
		}
	}
}

// log is all that the program has written.
func (p *program) log() string {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// close ends the program. One that has ended by itself is an error.
func (p *program) close() error {
	if !p.Alive() {
		return endedByItself(p.name, p.log())
	}
	if err := errors.Join(p.Stop(stopGrace), p.Err()); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}

func endedByItself(name, log string) error {
	return fmt.Errorf("%s has ended by itself; the end of its log:\n%s", name, tail(log))
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-logTail):] }
