package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// A Process is one run of a program. All methods may be called from several
// goroutines.
type Process struct {
	PID int

	exited chan struct{} // closed when the program has ended
	err    error         // how it ended; read after exited
}

// StartProcess runs argv with its output appended to the file output. The
// program leads a process group of its own, so a Ctrl-C on the terminal goes
// to us alone, and dies when our process does.
func StartProcess(argv, env []string, dir, output string) (*Process, error) {
	out, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &Process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the
		// program ends, not when the process does. Go ends threads as it
		// likes, except one that a goroutine has locked: this one stays
		// until the program has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close()
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env, cmd.Dir = env, dir
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.PID = cmd.Process.Pid
		started <- nil
		p.err = cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Exited returns a channel that is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err is how the program has ended; nil for exit status 0. It waits until then.
func (p *Process) Err() error {
	<-p.exited
	return p.err
}

// Alive reports whether the program still runs.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Kill ends the program and its children, such as one that saves, with
// SIGKILL, and waits. A child left alone would still rename its file over the
// one that the next run loads.
func (p *Process) Kill() error {
	if p.Alive() {
		if err := syscall.Kill(-p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %d: %w", p.PID, err)
		}
	}
	<-p.exited
	return nil
}

// Stop ends the program with SIGTERM, and with SIGKILL and an error if it has
// not ended after grace.
func (p *Process) Stop(grace time.Duration) error {
	if p.Alive() {
		if err := syscall.Kill(p.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop %d: %w", p.PID, err)
		}
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
	}
	if err := p.Kill(); err != nil {
		return err
	}
	return fmt.Errorf("stop %d: still running %v after SIGTERM, killed", p.PID, grace)
}
