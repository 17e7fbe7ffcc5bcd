//go:build !fault

// Package fault makes named places fail on demand, so that tests can walk over
// them. In a build without the tag "fault", which is every build but the tests'
// own, a place is an empty function, and nothing can be armed.
package fault

// Point is a place that can be made to panic. A place has one name.
func Point(string) {}
