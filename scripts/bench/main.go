// Bench measures what DESIGN section 5 promises, with real servers on loopback, and
// prints a table of medians:
//
//	bench            measure every row, in about seven minutes
//	bench -quick     the same with fewer runs, in about one and a half
//	bench -run lag   only the rows whose names match
//
// A figure that is a ratio compares two things that were measured in turns, so that a
// machine that is slow for a while is slow for both. It is no test: the exit code says
// whether everything could be measured, not what came out.
//
// It finds sponsor.so, sponsor-api and githubtest in its own folder; make bench builds
// them all.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // something could not be measured
	exitUsage  = 2 // the arguments are wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// Whoever is tired of waiting for the end presses Ctrl-C once more.
	context.AfterFunc(ctx, stop)
	executable, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitFailed)
	}
	code := run(ctx, filepath.Dir(executable), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program, with the folder where the builds are. It returns the
// exit code. The end of ctx is a person's wish to stop.
func run(ctx context.Context, build string, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	quick := flags.Bool("quick", false, "a short run, whose figures are rough")
	which := flags.String("run", "", "measure only the rows whose names match this regular `expression`")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: bench [-quick] [-run expression]")
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "\nThe rows:")
		for _, r := range rows(thorough) {
			fmt.Fprintf(stderr, "  %-17s %s\n", r.name, r.what)
		}
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	pattern, err := regexp.Compile(*which)
	if err != nil || flags.NArg() > 0 {
		flags.Usage()
		return exitUsage
	}
	e := thorough
	if *quick {
		e = quickly
	}
	chosen := matching(rows(e), pattern)
	if len(chosen) == 0 {
		fmt.Fprintf(stderr, "bench: no row matches %q\n", *which)
		flags.Usage()
		return exitUsage
	}
	results, err := measure(ctx, build, chosen, e, stderr)
	if len(results) > 0 {
		fmt.Fprintf(stdout, "%s\n\n%s", machine(), table(results))
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitFailed
	}
	return exitOK
}
