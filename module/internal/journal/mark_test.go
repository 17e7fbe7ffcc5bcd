package journal_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
)

func set(members ...string) journal.Mark {
	m := journal.Mark{Kind: journal.Set, Elements: map[string]journal.Element{}}
	for _, member := range members {
		name, gone := strings.CutPrefix(member, "-")
		m.Elements[name] = journal.Element{Present: !gone}
	}
	return m
}

func hash(field, value string) journal.Mark {
	return journal.Mark{Kind: journal.Hash, Elements: map[string]journal.Element{field: {Present: true, Value: value}}}
}

func TestAdd(t *testing.T) {
	deleted, whole := journal.Mark{Base: journal.Deleted}, journal.Mark{Base: journal.Whole}
	expiry := func(at int64) journal.Mark { return journal.Mark{HasExpiry: true, ExpireAt: at} }
	with := func(m journal.Mark, change func(*journal.Mark)) journal.Mark { change(&m); return m }
	tests := []struct {
		name string
		adds []journal.Mark
		want journal.Mark
	}{
		{"members", []journal.Mark{set("a", "b"), set("-a", "c")}, set("-a", "b", "c")},
		{"deleted, then members", []journal.Mark{set("a"), deleted, set("b")}, with(set("b"), func(m *journal.Mark) { m.Base = journal.Deleted })},
		{"deleted takes the expiry along", []journal.Mark{expiry(7), deleted}, deleted},
		{"whole needs no members", []journal.Mark{whole, set("b")}, whole},
		{"whole after members", []journal.Mark{set("b"), whole}, whole},
		{"deleted after whole", []journal.Mark{whole, deleted}, deleted},
		{"another type, unseen", []journal.Mark{set("a"), hash("f", "v")}, whole},
		{"another type, after deletion", []journal.Mark{set("a"), deleted, hash("f", "v")}, with(hash("f", "v"), func(m *journal.Mark) { m.Base = journal.Deleted })},
		{"the last expiry", []journal.Mark{expiry(7), set("a"), expiry(0)}, with(set("a"), func(m *journal.Mark) { m.HasExpiry = true })},
		{"the last number", []journal.Mark{{Seq: 9}, {Seq: 7}}, journal.Mark{Seq: 9}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got journal.Mark
			size := int64(0)
			for i, m := range tt.adds {
				if i > 0 {
					var both journal.Mark
					both.Add(got)
					decoded, err := journal.Decode(journal.EncodeBoth(&both, &m))
					both.Add(m)
					if err != nil || !reflect.DeepEqual(decoded, both) {
						t.Errorf("EncodeBoth(%+v, %+v) is decoded as %+v (%v)", got, m, decoded, err)
					}
				}
				size += got.Add(m)
			}
			if size != got.Size() {
				t.Errorf("grown by %d in all, but the size is %d", size, got.Size())
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	long := strings.Repeat("x", 3000)
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	tests := []struct {
		name      string
		mark      journal.Mark
		wantWhole bool
	}{
		{"nothing", journal.Mark{}, false},
		{"a set", set("a", "-b", "", "\xff\x00\r\n"), false},
		{"a hash", hash("f", "\x00v"), false},
		{"all", journal.Mark{
			Seq: 1<<64 - 1, Base: journal.Deleted, Kind: journal.Set, Elements: set("a").Elements,
			HasExpiry: true, ExpireAt: -1, Partial: true,
		}, false},
		{"erased", journal.Mark{Base: journal.Deleted, Erase: true}, false},
		{"deleted before", journal.Mark{Base: journal.Whole, Cleared: true}, false},
		{"noted", journal.Mark{Partial: true, Noted: true, Kind: journal.ZSet, Elements: set("-a").Elements}, false},
		{"a long member", set(long), true},
		{"a long value", hash("f", long), true},
		{"many members", set(many...), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := journal.Decode(tt.mark.Encode())
			if err != nil {
				t.Fatal(err)
			}
			want := tt.mark
			if tt.wantWhole {
				want.MakeWhole()
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			text := tt.mark.Encode()
			for n := range len(text) {
				_, _ = journal.Decode(text[:n]) // must not panic
			}
		})
	}
}

// TestEncodeBoth: a mark and a newer one on top of it, put together at random, are what
// Add makes of them.
func TestEncodeBoth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() journal.Mark {
		m := journal.Mark{Seq: rng.Uint64N(100), Base: journal.Base(rng.IntN(3)), Erase: rng.IntN(4) == 0}
		if m.Base != journal.Whole {
			m.Kind, m.Elements = journal.Set, make(map[string]journal.Element)
			for range 1 + rng.IntN(3) {
				m.Elements[fmt.Sprint(rng.IntN(4))] = journal.Element{Present: rng.IntN(2) == 0}
			}
		} else {
			m.Cleared = rng.IntN(2) == 0
		}
		if rng.IntN(3) == 0 {
			m.HasExpiry, m.ExpireAt = true, rng.Int64N(3)
		}
		return m
	}
	for range 10_000 {
		older, newer := random(), random()
		text := journal.EncodeBoth(&older, &newer)
		got, err := journal.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		want := older
		want.Elements = maps.Clone(older.Elements)
		want.Add(newer)
		if len(want.Elements) == 0 {
			want.Kind, want.Elements = journal.NoKind, nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v and %+v are %+v, want %+v", older, newer, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range []journal.Mark{{}, set("a", "-b"), hash("f", "v"), {Base: journal.Whole, HasExpiry: true, ExpireAt: 7, Seq: 300}} {
		f.Add(m.Encode())
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := journal.Decode(text)
		if err != nil {
			if m.Base != journal.Whole || !m.Partial {
				t.Errorf("what cannot be read gives %+v, want all of the key, removing nothing", m)
			}
			return
		}
		again, err := journal.Decode(m.Encode())
		if err != nil {
			t.Fatalf("%+v cannot be read back: %v", m, err)
		}
		if len(m.Elements) <= 64 && m.Size() <= 2048 && len(again.Elements) != len(m.Elements) {
			t.Errorf("read back %+v, want %+v", again, m)
		}
	})
}

// TestAddPartialWhole: what was added before a key went away outlives a change as a
// whole; what is added after that is as the local server has it.
func TestAddPartialWhole(t *testing.T) {
	m := journal.Mark{Kind: journal.Set, Elements: map[string]journal.Element{"added": {Present: true}, "removed": {}}}
	whole := journal.Mark{Base: journal.Whole, Partial: true, Kind: journal.Set, Elements: map[string]journal.Element{"touched": {}}}
	m.Add(whole)
	m.Add(journal.Mark{Partial: true, Kind: journal.Set, Elements: map[string]journal.Element{"later": {Present: true}}})
	m.Add(whole)
	want := map[string]journal.Element{"added": {Present: true}, "touched": {}}
	if m.Base != journal.Whole || !maps.Equal(m.Elements, want) {
		t.Errorf("mark = %+v, want Whole and %v", m, want)
	}
}
