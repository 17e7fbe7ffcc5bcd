package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// stopGrace is how long a program may take to end after SIGTERM. The API lets
// requests under way finish.
const stopGrace = 10 * time.Second

// program is one run of a program of ours. All methods may be called from
// several goroutines.
type program struct {
	*redistest.Process
	name   string
	output string // file
}

// startProgram runs the program at path with its output in a file of dir, and
// waits until ready returns nil. If it ends before that, or ctx does, the
// error holds the end of its output.
func startProgram(ctx context.Context, name, path, dir string, args, env []string, ready func(*program) error) (*program, error) {
	p := &program{name: name, output: filepath.Join(dir, filepath.Base(path)+".log")}
	var err error
	if p.Process, err = redistest.StartProcess(append([]string{path}, args...), env, dir, p.output); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := p.await(ctx, ready); err != nil {
		err = fmt.Errorf("start %s: %w\n%s", name, err, tail(p.Log()))
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

func (p *program) await(ctx context.Context, ready func(*program) error) error {
	return eventually(ctx, startTimeout, func() error {
		if !p.Alive() {
			return final(fmt.Errorf("it ended: %w", exitError(p.Err())))
		}
		return ready(p)
	})
}

// Log returns all that the program has written.
func (p *program) Log() string {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Close ends the program with SIGTERM and waits. One that had to be killed,
// or says that it failed, is an error.
func (p *program) Close() error {
	if err := p.Stop(stopGrace); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}

// exitError gives an end without an error one.
func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}
