package redistest_test

import (
	"fmt"
	"runtime"
	"testing"
)

// recorder is a test whose failure is what another test expects.
type recorder struct {
	testing.TB
	fatal []string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = append(r.fatal, fmt.Sprintf(format, args...))
	runtime.Goexit()
}
