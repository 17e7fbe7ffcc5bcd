package main

import (
	"strings"
	"testing"
	"time"
)

// looked is a window in which everything was measured with these values of one name, and
// 100 of all others.
func looked(name string, values ...float64) window {
	var w window
	for _, v := range values {
		s := make(sample)
		for _, b := range bounds {
			s[b.name] = 100
		}
		s[name] = v
		w.look = append(w.look, s)
	}
	return w
}

func notFlat(growths []growth) string {
	var names []string
	for _, g := range growths {
		if !g.flat() {
			names = append(names, g.name)
		}
	}
	return strings.Join(names, ", ")
}

func TestFlat(t *testing.T) {
	for _, test := range []struct {
		name          string
		what          string
		before, after []float64
		want          string // what is not flat
	}{
		{"the same", localGoroutines, []float64{30, 30}, []float64{30, 30}, ""},
		{"less", localGoroutines, []float64{30}, []float64{10}, ""},
		{"a few more", localGoroutines, []float64{30}, []float64{38}, ""},
		{"many more", localGoroutines, []float64{30}, []float64{39}, localGoroutines},
		{"a moment does not count", localFiles, []float64{20, 20, 20}, []float64{20, 500, 20}, ""},
		{"most of the time does", localFiles, []float64{20, 20, 20}, []float64{500, 20, 500}, localFiles},
		{"memory that doubles", localRSS, []float64{100 * mib}, []float64{200 * mib}, localRSS},
		{"memory within its part", localRSS, []float64{100 * mib}, []float64{148 * mib}, ""},
		{"garbage does not count", localHeap, []float64{10 * mib, 18 * mib}, []float64{19 * mib, 50 * mib, 60 * mib}, ""},
		{"what is left behind it does", localHeap, []float64{10 * mib, 18 * mib}, []float64{21 * mib, 50 * mib, 60 * mib}, localHeap},
		{"descriptors of the API", apiFiles, []float64{20}, []float64{45}, apiFiles},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := notFlat(compare(looked(test.what, test.before...), looked(test.what, test.after...))); got != test.want {
				t.Errorf("not flat: %q, want %q", got, test.want)
			}
		})
	}
}

// What was not measured is not flat: nobody knows.
func TestFlat_Unknown(t *testing.T) {
	before, after := looked(localRSS, 1), looked(localRSS, 1)
	delete(after.look[0], localHeap)
	if got := notFlat(compare(before, after)); got != localHeap {
		t.Errorf("not flat: %q, want %q", got, localHeap)
	}
}

// A window lasts as long as the load has room for.
func TestLaps(t *testing.T) {
	for _, length := range []time.Duration{shortest, time.Minute, 30 * time.Minute, 12 * time.Hour} {
		l := lapsOf(length)
		if all := 3 * (l.lap + l.look); l.lap <= 0 || l.look <= 0 || all > length/2 || all > 2*time.Minute {
			t.Errorf("in a soak of %v, the windows take %v", length, all)
		}
	}
}

func TestCounters(t *testing.T) {
	var c counters
	info := func(acknowledged string) map[string]string {
		m := make(map[string]string)
		for _, name := range counted {
			m["sponsor_"+name] = "0"
		}
		m["sponsor_acknowledged"] = acknowledged
		return m
	}
	for _, n := range []string{"5", "9", "2", "2", "7", "1"} { // it has begun again twice
		c.note(info(n))
		c.note(map[string]string{}) // the module is not there
	}
	if got := c.total("acknowledged"); got != 9+7+1 {
		t.Errorf("acknowledged = %d, want %d", got, 9+7+1)
	}
}

func TestFindNumber(t *testing.T) {
	text := "# HELP go_goroutines all\ngo_goroutines_more 3\ngo_goroutines 17\n"
	if n, err := findNumber(strings.NewReader(text), "go_goroutines", 1); n != 17 || err != nil {
		t.Errorf("number = %v, %v; want 17", n, err)
	}
	if n, err := findNumber(strings.NewReader("VmRSS:\t   64 kB\n"), "VmRSS:", 1024); n != 65536 || err != nil {
		t.Errorf("number = %v, %v; want 65536", n, err)
	}
	if _, err := findNumber(strings.NewReader(text), "other", 1); err == nil {
		t.Error("what is not there was found")
	}
}
