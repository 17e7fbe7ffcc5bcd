package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// engineTimeout bounds a question to the engine, and killing a container.
const engineTimeout = 20 * time.Second

// container is a service of the project.
type container struct {
	c       *compose
	service string
	addr    string // where other containers find it
	volume  string // that Kill removes too; empty: none
	grace   time.Duration
}

// state is what the engine says of a container. The zero state is that of one
// which is not there.
type state struct {
	status   string // running, exited …
	pid      int
	exitCode string
	health   string // starting, healthy, unhealthy; empty: it has no check
}

// find returns the container's id, or an error if there is not one.
func (k *container) find(ctx context.Context) (string, error) {
	id, err := k.c.docker(ctx, "ps", "-a", "-q", "--filter", "label="+projectLabel+k.c.project, "--filter", "label="+serviceLabel+k.service)
	if err != nil {
		return "", err
	}
	if id == "" || strings.Contains(id, "\n") {
		return "", fmt.Errorf("the service %s has no container", k.service)
	}
	return id, nil
}

// inspect asks the engine about the container, in its template language.
func (k *container) inspect(ctx context.Context, format string) (string, error) {
	id, err := k.find(ctx)
	if err != nil {
		return "", err
	}
	return k.c.docker(ctx, "inspect", "--format", format, id)
}

func (k *container) state(ctx context.Context) (state, error) {
	text, err := k.inspect(ctx, "{{.State.Status}} {{.State.Pid}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}")
	if err != nil {
		return state{}, err
	}
	words := append(strings.Fields(text), "", "", "", "")
	pid, err := strconv.Atoi(words[1])
	return state{status: words[0], pid: pid, exitCode: words[2], health: words[3]}, err
}

// now is the state at this moment, of a container that may have gone.
func (k *container) now() state {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	s, err := k.state(ctx)
	if err != nil {
		return state{}
	}
	return s
}

func (k *container) Addr() string { return k.addr }

func (k *container) PID() int { return k.now().pid }

func (k *container) Alive() bool { return k.now().status == "running" }

// Exited is closed if the container does not run at this moment. It is not
// closed later.
func (k *container) Exited() <-chan struct{} {
	c := make(chan struct{})
	if !k.Alive() {
		close(c)
	}
	return c
}

func (k *container) Log() string {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	id, err := k.find(ctx)
	if err != nil {
		return err.Error()
	}
	cmd := exec.CommandContext(ctx, "docker", "logs", id)
	cmd.Env = k.c.env
	text, err := cmd.CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Kill ends the container with SIGKILL, and removes it and its volume.
func (k *container) Kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	id, err := k.find(ctx)
	if err != nil {
		return err
	}
	if _, err := k.c.docker(ctx, "kill", id); err != nil {
		return err
	}
	if _, err := k.c.docker(ctx, "rm", "--volumes", id); err != nil || k.volume == "" {
		return err
	}
	volumes, err := k.c.docker(ctx, "volume", "ls", "-q", "--filter", "label="+projectLabel+k.c.project, "--filter", "label="+volumeLabel+k.volume)
	if err != nil {
		return err
	}
	if volumes == "" {
		return fmt.Errorf("%s has no volume %s", k.service, k.volume)
	}
	_, err = k.c.docker(ctx, "volume", "rm", volumes)
	return err
}

// Stop ends the container as docker stop does, which must be within its grace
// and with the exit code 0.
func (k *container) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), k.grace+engineTimeout)
	defer cancel()
	id, err := k.find(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	if _, err := k.c.docker(ctx, "stop", id); err != nil {
		return err
	}
	took := time.Since(begun)
	s, err := k.state(ctx)
	if err != nil {
		return err
	}
	if err := differ("exit code of "+k.service, s.exitCode, 0); err != nil {
		return err
	}
	if took >= k.grace {
		return fmt.Errorf("%s took %v to stop, and its grace is %v", k.service, took.Round(time.Millisecond), k.grace)
	}
	return nil
}

// Close is Stop: world.down removes the container.
func (k *container) Close() error { return k.Stop() }

// Restart makes the container run again, and waits until it is healthy.
func (k *container) Restart(ctx context.Context) error {
	if err := k.c.run(ctx, "up", "-d", "--no-deps", k.service); err != nil {
		return err
	}
	return k.becomes(ctx, "healthy")
}

// becomes waits for a state of its health.
func (k *container) becomes(ctx context.Context, want string) error {
	return eventually(ctx, time.Minute, func() error {
		s, err := k.state(ctx)
		if err != nil {
			return err
		}
		if s.status != "running" {
			return final(errors.New(k.service + " has ended: " + s.status + ", exit code " + s.exitCode + "\n" + tail(k.Log())))
		}
		return differ("health of "+k.service, s.health, want)
	})
}
