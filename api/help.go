package main

import (
	"fmt"
	"io"
	"strings"
)

// helpWidth is where lines of --help end, in characters.
const helpWidth = 78

func printHelp(w io.Writer) {
	fmt.Fprint(w, `sponsor-api signs people in with GitHub, finds out whether they sponsor the
project, and records which nodes of the graph they never want to see again.

Usage: sponsor-api [--help | --health]

With --health it asks /readyz of the server that listens on LISTEN_ADDR, and
exits with 0 if that is ready, else with 1: for the health check of a container.

Settings, from the environment. One marked * can also come from a file: set
its name with _FILE added to the path of that file.

`)
	for _, s := range settingsHelp {
		mark := ""
		if s.secret {
			mark = " *"
		}
		fmt.Fprintf(w, "  %s%s\n", s.name, mark)
		text := s.meaning
		if s.fallback != "" {
			text += "; default " + s.fallback
		}
		wrap(w, text, "      ")
	}
	fmt.Fprint(w, `
Signals: SIGTERM and SIGINT let the requests under way finish, then end. SIGHUP
reads the files with secrets again at once; else that happens every minute.
Exit codes: 0 ended as asked, 1 something broke, 2 the settings are wrong.
`)
}

// wrap writes text in lines of at most helpWidth characters.
func wrap(w io.Writer, text, indent string) {
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line) > len(indent) && len(line)+1+len(word) > helpWidth {
			fmt.Fprintln(w, line)
			line = indent
		}
		if len(line) > len(indent) {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(w, line)
}
