package replication

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
)

// TestR9_LargeStub: what a change as a whole costs the main thread, as each command of a
// transaction is one, does not grow with what is known of a key that is here in part.
func TestR9_LargeStub(t *testing.T) {
	const changesMade = 200
	allocated := func(touched int) uint64 {
		c := newChanges()
		none := func() string { return "" }
		c.created("key", false, none)
		for i := range touched {
			element := map[string]journal.Element{fmt.Sprint(i): {Present: true}}
			c.add("key", journal.Mark{Kind: journal.Set, Elements: element}, none)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range changesMade {
			c.add("key", journal.Mark{Base: journal.Whole, Kind: journal.Set}, none)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	few, many := allocated(journal.MaxElements), allocated(maxTouched)
	if many > 2*few {
		t.Errorf("%d changes have taken %d bytes where %d elements were touched, and %d where %d were", changesMade, many, maxTouched, few, journal.MaxElements)
	}
}
