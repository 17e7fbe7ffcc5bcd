package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// table is results as a table in Markdown, in columns that are straight without
// it too.
func table(results []result) string {
	lines := [][]string{{"row", "measured", "reach"}}
	for _, r := range results {
		lines = append(lines, []string{r.what, r.measured, r.reach})
	}
	widths := make([]int, len(lines[0]))
	for _, cells := range lines {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for i, cells := range lines {
		writeLine(&b, cells, widths, " ")
		if i == 0 {
			writeLine(&b, make([]string, len(cells)), widths, "-")
		}
	}
	return b.String()
}

func writeLine(b *strings.Builder, cells []string, widths []int, filler string) {
	for i, cell := range cells {
		padding := strings.Repeat(filler, widths[i]-utf8.RuneCountInString(cell))
		fmt.Fprintf(b, "| %s%s ", cell, padding)
	}
	b.WriteString("|\n")
}

// count writes a number as people do: 20 thousand.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%d million", n/1_000_000)
	case n >= 10_000 && n%1000 == 0:
		return fmt.Sprintf("%d thousand", n/1000)
	case n >= 1000:
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	return fmt.Sprint(n)
}

// rate writes something a second.
func rate(perSecond float64) string {
	switch {
	case perSecond >= 1e6:
		return fmt.Sprintf("%.2f M/s", perSecond/1e6)
	case perSecond >= 1e3:
		return fmt.Sprintf("%.0f k/s", perSecond/1e3)
	}
	return fmt.Sprintf("%.0f/s", perSecond)
}

// ms writes a duration in milliseconds.
func ms(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
