package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// An effort says how much is done for a figure.
type effort struct {
	runs   int           // of each side
	many   int           // the same where the two differ by a few parts in a hundred
	others int           // keys of nobody's, in the database that is large
	writes int           // single writes to each key
	lag    time.Duration // how long a run of writes at a fixed rate lasts
	api    time.Duration // how long a run of requests to the API lasts
}

var (
	thorough = effort{runs: 5, many: 31, others: 10_000_000, writes: 2000, lag: 5 * time.Second, api: 10 * time.Second}
	quickly  = effort{runs: 3, many: 7, others: 1_000_000, writes: 300, lag: time.Second, api: 3 * time.Second}
)

// rowTimeout bounds a row, with the start of its servers and their data.
const rowTimeout = 2 * time.Minute

// A row is one promise.
type row struct {
	name    string // for -run
	what    string
	reach   string
	measure func(context.Context, *lab, effort) (string, error)
}

// rows are the promises of DESIGN section 5, in its order.
func rows(e effort) []row {
	return []row{
		{
			"sync", fmt.Sprintf("SPONSOR.SYNC of %s sets of %d and as many hashes, elements/s against `redis-cli --pipe`", count(bulkOwners), bulkElements),
			"at least 0.8", measureSync,
		},
		{
			"sync-flat", fmt.Sprintf("SPONSOR.SYNC of %s sponsors, time with %s other keys against %s", count(flatSponsors), count(e.others), count(flatOthers)),
			"at most 1.1", measureSyncFlat,
		},
		{"traffic", "unrelated traffic, rate with the module against without", "at least 0.98", measureTraffic},
		{
			"traffic-pipelined", fmt.Sprintf("unrelated traffic with -P %d, rate with the module against without", pipelining),
			"at least 0.98", measurePipelinedTraffic,
		},
		{"latency", "unrelated GETs, p99 while a SYNC runs against without", "at most 1 ms more", measureLatency},
		{
			"cost", fmt.Sprintf("one SADD to a set of %s, time until it is replicated, against a set of %d", count(largeSet), smallSet),
			"at most 1.2", measureCost,
		},
		{
			"miss", "first SMEMBERS of a set that is away, against the sum of a local hit and the same SMEMBERS sent to the remote",
			"at most 1.3", measureMiss,
		},
		{
			"hits", fmt.Sprintf("reads of sponsors' keys that are here, with -P %d, rate with the module against without", pipelining),
			"no measurable cost", measureHits,
		},
		{
			"miss-storm", fmt.Sprintf("fetches when %s clients miss one key at once", count(missingClients)),
			"1", measureMissStorm,
		},
		{"journal", "SADD to sponsors' sets, rate with the journal against without the module", "at least 0.7", measureJournal},
		{
			"lag", fmt.Sprintf("lag at %s writes/s on random sponsors", count(lagRate)),
			"p99 at most 5 ms", measureLag,
		},
		{
			"lag-large", fmt.Sprintf("lag at %s writes/s to one set of %s", count(lagLargeRate), count(largeSet)),
			"p99 at most 5 ms", measureLagLarge,
		},
		{
			"stall", fmt.Sprintf("longest GET while a set of %s is copied", count(largeSet)),
			"5 ms", measureStall,
		},
		{
			"exclude", fmt.Sprintf("GET /exclude?id=… at %s requests/s from %d connections, p99", count(apiRate), apiPeople),
			"under 20 ms", measureExclude,
		},
		{
			"exclude-list", fmt.Sprintf("GET /exclude at %s requests/s from %d connections, p99, lists of %d", count(apiRate), apiPeople, listedNodes),
			"under 20 ms", measureExcludeList,
		},
	}
}

// matching are those rows whose names match.
func matching(all []row, pattern *regexp.Regexp) []row {
	var chosen []row
	for _, r := range all {
		if pattern.MatchString(r.name) {
			chosen = append(chosen, r)
		}
	}
	return chosen
}

// A result is a row and what was measured.
type result struct{ what, measured, reach string }

// measure measures rows one after the other, and tells on progress how far it
// is. A row that cannot be measured does not keep the others from it; the error
// joins all of these.
func measure(ctx context.Context, build string, chosen []row, e effort, progress io.Writer) ([]result, error) {
	var (
		results []result
		errs    []error
	)
	for i, r := range chosen {
		fmt.Fprintf(progress, "%2d/%d %-17s ", i+1, len(chosen), r.name)
		begun := time.Now()
		measured, err := r.run(ctx, build, e)
		if ctx.Err() != nil {
			fmt.Fprintln(progress, "stopped")
			return results, errors.Join(append(errs, errors.New("stopped before the end"))...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
			measured = "could not be measured"
		}
		fmt.Fprintf(progress, "%5.1f s  %s\n", time.Since(begun).Seconds(), measured)
		results = append(results, result{r.what, measured, r.reach})
	}
	return results, errors.Join(errs...)
}

// run measures a row in a lab of its own.
func (r row) run(ctx context.Context, build string, e effort) (measured string, err error) {
	ctx, cancel := context.WithTimeout(ctx, rowTimeout)
	defer cancel()
	l, err := newLab(build)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	return r.measure(ctx, l, e)
}

// machine says where the figures come from.
func machine() string {
	server := "no server"
	if flavor, err := redistest.Default(); err == nil {
		server = flavor.Name
	}
	return fmt.Sprintf("Medians on %d cores, with %s and %s.", runtime.NumCPU(), server, runtime.Version())
}
