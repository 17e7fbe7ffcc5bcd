package resp

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestStrings(t *testing.T) {
	tests := []struct {
		name, reply string
		want        []string
		wantErr     bool
	}{
		{"empty", "*0\r\n", nil, false},
		{"two", "*2\r\n$1\r\na\r\n$0\r\n\r\n", []string{"a", ""}, false},
		{"line ends and bytes that are no UTF-8 inside", "*1\r\n$4\r\n\r\n\xff\x00\r\n", []string{"\r\n\xff\x00"}, false},
		{"cut short", "*2\r\n$1\r\na\r\n", nil, true},
		{"cut inside an item", "*1\r\n$5\r\nabc\r\n", nil, true},
		{"longer than it says", "*1\r\n$1\r\na\r\n$1\r\nb\r\n", nil, true},
		{"count beyond reason", "*99999999999\r\n", nil, true},
		{"negative count", "*-1\r\n", nil, true},
		{"another type", ":1\r\n", nil, true},
		{"nothing", "", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Strings(tt.reply)
			if (err != nil) != tt.wantErr || !slices.Equal(got, tt.want) {
				t.Errorf("Strings(%q) = %q, %v; want %q, error %v", tt.reply, got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestErrorReply(t *testing.T) {
	const reply = "-WRONGTYPE not that\r\n"
	_, errStrings := Strings(reply)
	_, errInt := Int(reply)
	_, _, errPage := Page(reply)
	for name, err := range map[string]error{"Err": Err(reply), "Strings": errStrings, "Int": errInt, "Page": errPage} {
		var reply Error
		if !errors.As(err, &reply) || reply != "WRONGTYPE not that" {
			t.Errorf("%s = %v; want the error reply", name, err)
		}
	}
}

func TestPage(t *testing.T) {
	cursor, items, err := Page("*2\r\n$2\r\n17\r\n*1\r\n$1\r\na\r\n")
	if cursor != "17" || !slices.Equal(items, []string{"a"}) || err != nil {
		t.Errorf("Page = %q, %q, %v; want 17, [a]", cursor, items, err)
	}
}

func TestAny(t *testing.T) {
	got, err := Any("*5\r\n:-7\r\n$2\r\n\xff\x00\r\n+OK\r\n*2\r\n$-1\r\n*-1\r\n-ERR no\r\n")
	want := []any{int64(-7), "\xff\x00", "OK", []any{nil, nil}, Error("ERR no")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Any = %#v, %v; want %#v", got, err, want)
	}
	for _, reply := range []string{"", "*1\r\n", ":x\r\n", "$3\r\nab\r\n", ":1\r\n:2\r\n", "?1\r\n", strings.Repeat("*1\r\n", 100) + ":1\r\n"} {
		if got, err := Any(reply); err == nil {
			t.Errorf("Any(%q) = %#v, want an error", reply, got)
		}
	}
}

func FuzzReplies(f *testing.F) {
	f.Add("*2\r\n$2\r\n17\r\n*1\r\n$1\r\na\r\n")
	f.Add("*1\r\n$1\r\na\r\n")
	f.Add(":1\r\n")
	f.Add("-ERR\r\n")
	f.Add("*2\r\n*-1\r\n*1\r\n*1\r\n$-1\r\n")
	f.Fuzz(func(t *testing.T, reply string) {
		// No reply makes them panic or return more than they were given.
		items, _ := Strings(reply)
		_, page, _ := Page(reply)
		for _, got := range [][]string{items, page} {
			size := 0
			for _, item := range got {
				size += len(item)
			}
			if size > len(reply) {
				t.Errorf("%d bytes out of %d", size, len(reply))
			}
		}
		_, _ = Int(reply)
		if _, err := Any(reply); err == nil && reply == "" {
			t.Error("nothing is a reply")
		}
	})
}
