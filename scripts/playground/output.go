package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// printer writes for people: with colours in a terminal, plainly elsewhere.
type printer struct {
	w      io.Writer
	colour bool
}

func newPrinter(w io.Writer, env environment) *printer {
	return &printer{w: w, colour: isTerminal(w) && env["NO_COLOR"] == "" && env["TERM"] != "dumb"}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printf writes a line. That nobody reads it any more is no error.
func (p *printer) printf(format string, args ...any) {
	fmt.Fprintf(p.w, format+"\n", args...)
}

// The colours of a terminal, by what they are for.
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

func (p *printer) in(colour, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// step announces a step of the story.
func (p *printer) step(number int, name, does string) {
	p.printf("%s %s", p.in(bold, fmt.Sprintf("%2d %-8s", number, name)), does)
}

// saw tells what a step saw, a line each.
func (p *printer) saw(lines []string) {
	const indent = "            "
	for _, line := range lines {
		p.printf("%s%s", indent, p.in(faint, strings.ReplaceAll(line, "\n", "\n"+indent)))
	}
}
