package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A terminal is a pseudo-terminal with a program in it.
type terminal struct {
	ours, theirs *os.File
	process      *os.Process
	ended        chan struct{} // closed when the program has
	code         int           // its exit status; read after ended

	mu   sync.Mutex
	seen strings.Builder
}

// inTerminal starts cmd in a terminal of so many columns, as its foreground process.
func inTerminal(t *testing.T, columns uint16, cmd *exec.Cmd) *terminal {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	fd := int(ours.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	theirs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{ours: ours, theirs: theirs, ended: make(chan struct{})}
	term.resize(t, columns)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term.process = cmd.Process
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := ours.Read(buffer)
			if err != nil {
				return
			}
			term.mu.Lock()
			term.seen.Write(buffer[:n])
			term.mu.Unlock()
		}
	}()
	go func() {
		defer close(term.ended)
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			term.code = exit.ExitCode()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-term.ended
		if t.Failed() {
			t.Logf("%s has printed %q", cmd, term.output())
		}
		theirs.Close()
		ours.Close()
	})
	return term
}

// output is all that was printed.
func (term *terminal) output() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.seen.String()
}

// shows waits until all of parts were printed.
func (term *terminal) shows(t *testing.T, parts ...string) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		for _, part := range parts {
			if !strings.Contains(term.output(), part) {
				return fmt.Errorf("printed was %.4000q, want %q in it", term.output(), part)
			}
		}
		return nil
	})
}

// resize makes it 30 lines of so many columns.
func (term *terminal) resize(t *testing.T, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(term.ours.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

func (term *terminal) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := term.ours.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// ends waits until the program has ended, with code, and everything was printed.
func (term *terminal) ends(t *testing.T, code int) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		select {
		case <-term.ended:
			return nil
		default:
			return errors.New("it runs still")
		}
	})
	if term.code != code {
		t.Errorf("exit status = %d, want %d", term.code, code)
	}
	// What was printed last comes through the terminal in order, before this.
	if _, err := term.theirs.WriteString("\x05the end"); err != nil {
		t.Fatal(err)
	}
	term.shows(t, "\x05the end")
}

// settings are the terminal's: echo, and what the keys do.
func (term *terminal) settings(t *testing.T) unix.Termios {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(term.theirs.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *settings
}
