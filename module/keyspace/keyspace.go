// Package keyspace knows the names of the keys: which belong to whom, and
// which are ours. The module and the API share it, so that both mean the same
// key. It holds no state; everything in it may be used concurrently.
package keyspace

import "strings"

// OwnPrefix begins every key that redis-sponsor keeps for itself, on either
// server. No template ever matches such a key.
const OwnPrefix = "sponsor:"

// DefaultTemplates are the keys of The Pattern, in the syntax of
// ParseTemplates.
const DefaultTemplates = "user_details:<id> user:<id> user:<id>:mnodes"

// SponsorsKey is the set of the owner ids that sponsor org.
func SponsorsKey(org string) string { return "sponsors:" + org }

// UserDetailsKey is the hash {email, id, user_login} of a person.
func UserDetailsKey(id string) string { return "user_details:" + id }

// UserKey is the hash in which other programs of the project keep what they know of
// a person.
func UserKey(id string) string { return "user:" + id }

// ExcludedNodesKey is the set of graph nodes that a person never wants to see
// again.
func ExcludedNodesKey(id string) string { return "user:" + id + ":mnodes" }

// ValidOwner reports whether id can stand for <id> in a template. An owner id
// is one or more bytes, none of which is a colon: otherwise the owner of
// user:7:mnodes could be "7:mnodes". It need not be UTF-8.
func ValidOwner(id string) bool {
	return id != "" && !strings.Contains(id, ":")
}
