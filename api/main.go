// Sponsor-api serves people who sign in with GitHub, and The Pattern's web
// page. It finds out who sponsors the project and records which nodes of the
// graph people never want to see again. Everything it keeps is in Redis, where
// the module replicates what belongs to sponsors.
//
// All settings come from the environment; --help lists them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// The exit codes.
const (
	exitOK       = 0
	exitFailed   = 1 // something broke while it ran
	exitSettings = 2 // the settings or the arguments are wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: it serves until ctx ends, and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	askHealth, err := parseArgs(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printHelp(stdout)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "sponsor-api: %v (see --help)\n", err)
		return exitSettings
	case askHealth:
		return health(ctx, getenv, stderr)
	}
	settings, err := ReadSettings(getenv)
	if err != nil {
		fmt.Fprintf(stderr, "sponsor-api: the settings need attention (see --help):\n%v\n", err)
		return exitSettings
	}
	m := NewMain(settings, stderr)
	redis.SetLogger(silent{})
	m.ReadAgain = func() (Settings, error) { return ReadSettings(getenv) }
	if err := m.Run(ctx); err != nil {
		fmt.Fprintf(stderr, "sponsor-api: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// silent takes what go-redis would write to the standard error by itself. What it
// says of connections, our own errors say too.
type silent struct{}

// Printf implements the logger of go-redis.
func (silent) Printf(context.Context, string, ...any) {}

// parseArgs tells whether the program is to ask a running one for its health.
func parseArgs(args []string) (askHealth bool, err error) {
	flags := flag.NewFlagSet("sponsor-api", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	flags.BoolVar(&askHealth, "health", false, "")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if flags.NArg() > 0 {
		return false, fmt.Errorf("unexpected argument %q: all settings come from the environment", flags.Arg(0))
	}
	return askHealth, nil
}
