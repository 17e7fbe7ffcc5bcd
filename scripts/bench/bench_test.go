package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 9, 2}, 3},
		{"an outlier", []float64{1, 1, 1000}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.values)
			if got := median(test.values); got != test.want {
				t.Errorf("median = %v, want %v", got, test.want)
			}
			if !slices.Equal(test.values, before) {
				t.Errorf("the values are %v now", test.values)
			}
		})
	}
	if got := median([]time.Duration{time.Second, 3 * time.Second}); got != 2*time.Second {
		t.Errorf("median = %v, want 2s", got)
	}
}

func TestPercentile(t *testing.T) {
	var hundred []int
	for i := range 100 {
		hundred = append(hundred, 100-i)
	}
	for _, test := range []struct {
		p      float64
		values []int
		want   int
	}{
		{0.5, hundred, 50},
		{0.99, hundred, 99},
		{1, hundred, 100},
		{0.001, hundred, 1},
		{0.99, []int{7}, 7},
		{0.5, []int{2, 1}, 1},
	} {
		if got := percentile(test.p, test.values); got != test.want {
			t.Errorf("percentile(%v) of %d values = %v, want %v", test.p, len(test.values), got, test.want)
		}
	}
}

func TestInTurns(t *testing.T) {
	var order strings.Builder
	side := func(name string, value float64) func() (float64, error) {
		return func() (float64, error) {
			order.WriteString(name)
			value++
			return value, nil
		}
	}
	o, err := inTurns(3, side("a", 1), side("b", 3))
	if err != nil || order.String() != "abbaab" {
		t.Errorf("the order is %s, %v; want abbaab", order.String(), err)
	}
	if want := 3.0 / 5; o.ratio() != want {
		t.Errorf("ratio = %v, want %v, of %v", o.ratio(), want, o)
	}
	broken := errors.New("broken")
	if _, err := inTurns(3, side("a", 1), func() (float64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("error = %v, want %v", err, broken)
	}
}

func TestTable(t *testing.T) {
	got := table([]result{{"lag — p99", "4 ms", "at most 5 ms"}, {"x", "could not be measured", "y"}})
	want := `| row       | measured              | reach        |
| --------- | --------------------- | ------------ |
| lag — p99 | 4 ms                  | at most 5 ms |
| x         | could not be measured | y            |
`
	if got != want {
		t.Errorf("table:\n%s\nwant:\n%s", got, want)
	}
}

func TestNumbers(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{count(10), "10"},
		{count(1000), "1,000"},
		{count(2048), "2,048"},
		{count(20_000), "20 thousand"},
		{count(10_000_000), "10 million"},
		{rate(12), "12/s"},
		{rate(98_700), "99 k/s"},
		{rate(2_345_678), "2.35 M/s"},
		{ms(1234 * time.Microsecond), "1.23 ms"},
		{ms(seconds(0.005)), "5.00 ms"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestReadRates(t *testing.T) {
	got, err := readRates([]byte(`"test","rps","avg_latency_ms"
"SET","123456.78","0.3"
"GET","200000.00","0.2"
`))
	if want := map[string]float64{"SET": 123456.78, "GET": 200000}; err != nil || !maps.Equal(got, want) {
		t.Errorf("rates = %v, %v; want %v", got, err, want)
	}
	for _, out := range []string{"", `"test","rps"` + "\n", `"SET","fast"` + "\n", `"SET`} {
		if got, err := readRates([]byte(out)); err == nil {
			t.Errorf("rates of %q = %v, want an error", out, got)
		}
	}
}

func TestWatcherNotes(t *testing.T) {
	w := &watcher{prefix: "run-1-", seen: make([]time.Time, 3), left: 3}
	first, later := time.Unix(1, 0), time.Unix(2, 0)
	w.note(`1700000000.123456 [0 127.0.0.1:50000] "SADD" "user:7:mnodes" "run-1-2" "run-1-0"`, first)
	w.note(`1700000000.123457 [0 127.0.0.1:50000] "SADD" "user:7:mnodes" "run-1-2" "run-0-1" "run-1-3" "run-1-x"`, later)
	if want := []time.Time{first, {}, first}; !slices.Equal(w.seen, want) || w.left != 1 {
		t.Errorf("seen %v, %d left; want %v, 1 left", w.seen, w.left, want)
	}
}

// A call that takes long must be seen in those that wait for it, and they in nothing
// that is on other lanes.
func TestOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var (
			mu    sync.Mutex
			calls = make(map[int]time.Duration) // since begun, by number
		)
		// Two lanes, and a call due every 100 ms.
		took, err := openLoop(t.Context(), 7, 10, 2, func(lane, i int) error {
			mu.Lock()
			calls[i] = time.Since(begun)
			mu.Unlock()
			if lane != i%2 {
				t.Errorf("call %d is on lane %d", i, lane)
			}
			if i == 0 {
				return pass(t.Context(), 500*time.Millisecond)
			}
			return pass(t.Context(), 10*time.Millisecond)
		})
		millis := func(numbers ...int) (list []time.Duration) {
			for _, n := range numbers {
				list = append(list, time.Duration(n)*time.Millisecond)
			}
			return list
		}
		if want := millis(500, 10, 310, 10, 120, 10, 10); err != nil || !slices.Equal(took, want) {
			t.Errorf("took %v, %v; want %v", took, err, want)
		}
		for i, want := range millis(0, 100, 500, 300, 510, 500, 600) {
			if calls[i] != want {
				t.Errorf("call %d is made after %v, want %v", i, calls[i], want)
			}
		}
	})
}

func TestOpenLoop_EndsAtTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		begun := time.Now()
		_, err := openLoop(t.Context(), 1000, 10, 2, func(_, i int) error {
			if i == 3 {
				return broken
			}
			return nil
		})
		if took, want := time.Since(begun), 300*time.Millisecond; !errors.Is(err, broken) || took != want {
			t.Errorf("error = %v after %v, want %v after %v", err, took, broken, want)
		}
	})
}

func TestCaller(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // of the error; empty for none
	}{
		{"200", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.RequestURI, " ", r.Header.Get("X-Forwarded-For"), " ", r.Header.Get("Cookie"))
		}, ""},
		{"another status", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "too many", http.StatusTooManyRequests)
		}, "429 Too Many Requests: too many"},
		{"hanging up", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }, "closes the connection"},
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.answer)
			defer server.Close()
			c, err := connect(t.Context(), server.Listener.Addr().String(), 7, "a=b")
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			for range 2 {
				err = c.get("/exclude?id=C1")
				if test.want != "" {
					break
				}
				if got, want := c.body.String(), "/exclude?id=C1 10.0.0.8 a=b"; err != nil || got != want {
					t.Errorf("the answer is %q, %v; want %q", got, err, want)
				}
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error = %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestMatching(t *testing.T) {
	names := func(expression string) []string {
		var list []string
		for _, r := range matching(rows(thorough), regexp.MustCompile(expression)) {
			list = append(list, r.name)
		}
		return list
	}
	if got := names("^sync"); !slices.Equal(got, []string{"sync", "sync-flat"}) {
		t.Errorf("^sync matches %v", got)
	}
	if got := names(""); len(got) != len(slices.Compact(slices.Sorted(slices.Values(got)))) {
		t.Errorf("two rows have one name: %v", got)
	}
}

func TestRun_RefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{{"-run", "no such row"}, {"-run", "("}, {"-x"}, {"lag"}} {
		var stdout, stderr strings.Builder
		if code := run(t.Context(), t.TempDir(), args, &stdout, &stderr); code != exitUsage {
			t.Errorf("run %q = %d, want %d", args, code, exitUsage)
		}
		if !strings.Contains(stderr.String(), "usage: bench") {
			t.Errorf("run %q says %q", args, stderr.String())
		}
	}
}

func TestRun_FailsWithoutTheModule(t *testing.T) {
	var stdout, stderr strings.Builder
	if code := run(t.Context(), t.TempDir(), []string{"-run", "^lag$"}, &stdout, &stderr); code != exitFailed {
		t.Errorf("exit code = %d, want %d", code, exitFailed)
	}
	if !strings.Contains(stdout.String(), "could not be measured") || !strings.Contains(stderr.String(), "make build") {
		t.Errorf("it prints %q and %q", stdout.String(), stderr.String())
	}
}
