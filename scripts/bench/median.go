package main

import (
	"cmp"
	"math"
	"slices"
)

// median is the middle of values, or the mean of the two that are. There must be
// one at least. It leaves values as they are.
func median[T ~int64 | ~float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile is the smallest of values that is not less than p of them, 0 < p <= 1.
// There must be one at least. It leaves values as they are.
func percentile[T cmp.Ordered](p float64, values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// An outcome is what two sides came to that were measured in turns.
type outcome struct{ ours, theirs []float64 }

// ratio is the median of what ours came to against theirs in the same turn. That
// shakes off what slows a turn as a whole down, which a ratio of two medians does
// not.
func (o outcome) ratio() float64 {
	ratios := make([]float64, len(o.ours))
	for i := range ratios {
		ratios[i] = o.ours[i] / o.theirs[i]
	}
	return median(ratios)
}

// inTurns measures two sides, a number of times each. The first of a turn is last
// in the next one.
func inTurns(turns int, ours, theirs func() (float64, error)) (outcome, error) {
	o := outcome{make([]float64, turns), make([]float64, turns)}
	for i := range turns {
		sides := []func() error{
			func() (err error) { o.ours[i], err = ours(); return },
			func() (err error) { o.theirs[i], err = theirs(); return },
		}
		if i%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return outcome{}, err
			}
		}
	}
	return o, nil
}
