package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// templates are the module's sponsor.keys: those of the README, and one for each use
// that a person's keys have here.
const templates = "user_details:<id> user:<id> user:<id>:mnodes user:<id>:more user:<id>:board user:<id>:recent " +
	"user:<id>:text user:<id>:events user:<id>:team user:<id>:profile user:<id>:big user:<id>:page"

// keysFor are all keys of somebody, and what is in them.
func keysFor(id string) map[string]kind {
	user := "user:" + id
	return map[string]kind{
		user + ":mnodes": aSet, user + ":more": aSet, user: aHash, "user_details:" + id: aHash,
		user + ":board": aZset, user + ":recent": aList, user + ":text": aString, user + ":events": aStream,
		// Transactions and scripts write these two. What they write while the key is
		// away is merged when that is back; RENAME and SPOP of such a key may keep a part
		// (README, what can be lost), so that nobody does that to them.
		user + ":team": aSet, user + ":profile": aHash,
		// These are large, of a few people.
		user + ":big": aSet, user + ":page": aString,
	}
}

func isLarge(key string) bool {
	return strings.HasSuffix(key, ":big") || strings.HasSuffix(key, ":page")
}

const (
	longMost  = 50               // elements of a list or stream, and members there are to choose from
	textMost  = 2000             // bytes of a string
	never     = 1000 * time.Hour // an expiry that no soak lives to see
	bigChunk  = 1000             // members a command
	bigMost   = 10_000
	pageBytes = 1 << 20
)

// dice make random commands. They may be used by one goroutine.
type dice struct {
	*rand.Rand
	entry int64         // the last id of an entry of a stream
	dying time.Duration // how long a key lives that is to expire soon
}

func newDice(o options, stream uint64) *dice {
	return &dice{Rand: rand.New(rand.NewPCG(o.seed, stream)), dying: o.dying()}
}

func pick[T any](d *dice, list ...T) T { return list[d.IntN(len(list))] }

func (d *dice) member() string { return "m" + strconv.Itoa(d.IntN(longMost)) }

// members are up to three behind words.
func (d *dice) members(words ...string) command {
	for range 1 + d.IntN(3) {
		words = append(words, d.member())
	}
	return words
}

func (d *dice) number() string { return strconv.Itoa(d.IntN(1000)) }

// byMember is a command that travels member by member: an eviction cannot take it away
// before it was sent.
func (d *dice) byMember(id string) command {
	user := "user:" + id
	set := pick(d, user+":mnodes", user+":more", user+":team")
	hash := pick(d, user, "user_details:"+id, user+":profile")
	switch d.IntN(10) {
	case 0, 1, 2:
		return d.members("SADD", set)
	case 3, 4:
		return d.members("SREM", set)
	case 5, 6, 7:
		return command{"HSET", hash, d.member(), d.number(), d.member(), d.number()}
	case 8:
		return d.members("HDEL", hash)
	default:
		return command{pick(d, "DEL", "UNLINK"), pick(d, set, hash)}
	}
}

// any is a command of any kind, with keys of one person.
func (d *dice) any(id string) command {
	user := "user:" + id
	set, other := user+":mnodes", user+":more"
	hash, otherHash := user, "user_details:"+id
	if d.IntN(2) == 0 {
		set, other, hash, otherHash = other, set, otherHash, hash
	}
	some := pick(d, set, hash, user+":board", user+":recent", user+":text", user+":events")
	switch d.IntN(30) {
	case 0:
		return command{"SPOP", set}
	case 1:
		return command{"SMOVE", set, other, d.member()}
	case 2:
		return command{pick(d, "SUNIONSTORE", "SDIFFSTORE"), set, set, other}
	case 3:
		return command{"RENAME", set, other}
	case 4:
		return command{"RENAME", hash, otherHash}
	case 5:
		return command{"HINCRBY", hash, "n", d.number()}
	case 6, 7:
		return command{"ZADD", user + ":board", d.number(), d.member()}
	case 8:
		return command{"ZINCRBY", user + ":board", d.number(), "n"}
	case 9:
		return d.members("ZREM", user+":board")
	case 10, 11:
		return d.members(pick(d, "RPUSH", "LPUSH"), user+":recent")
	case 12:
		return command{"LPOP", user + ":recent"}
	case 13:
		return command{"LTRIM", user + ":recent", "0", strconv.Itoa(d.IntN(longMost))}
	case 14:
		return command{"SET", user + ":text", strings.Repeat(d.member(), 1+d.IntN(20))}
	case 15:
		return command{"APPEND", user + ":text", d.member()}
	case 16, 17:
		d.entry++
		return command{"XADD", user + ":events", "MAXLEN", "50", fmt.Sprintf("%d-1", d.entry), "f", d.member()}
	case 18:
		return command{"XDEL", user + ":events", fmt.Sprintf("%d-1", max(1, d.entry-d.Int64N(20)))}
	case 19:
		return command{pick(d, "DEL", "UNLINK"), some, set}
	case 20:
		return expireAt(some, never)
	case 21:
		return command{"PERSIST", some}
	case 22: // it expires soon
		return expireAt(some, d.dying)
	default:
		return d.byMember(id)
	}
}

func expireAt(key string, after time.Duration) command {
	return command{"PEXPIREAT", key, strconv.FormatInt(time.Now().Add(after).UnixMilli(), 10)}
}

// transaction is what a MULTI holds. What is removed from a key that is away is removed
// on the remote, too (README).
func (d *dice) transaction(id string) []command {
	set, hash := "user:"+id+":team", "user:"+id+":profile"
	var commands []command
	for range 2 + d.IntN(3) {
		commands = append(commands, pick(d,
			d.members("SADD", set), d.members("SADD", set), d.members("SREM", set), command{"DEL", pick(d, set, hash)},
			command{"HSET", hash, d.member(), d.number()}, d.members("HDEL", hash)))
	}
	return commands
}

// script is what a script does. It removes nothing: of a key that is away that would do
// nothing (README).
func (d *dice) script(id string) []command {
	set, hash := "user:"+id+":team", "user:"+id+":profile"
	var commands []command
	for range 1 + d.IntN(3) {
		commands = append(commands, pick(d, d.members("SADD", set), command{"HSET", hash, d.member(), d.number()}))
	}
	return commands
}

// big is a command with much in it. Size is how many members the large set has.
func (d *dice) big(id string, size int) command {
	user := "user:" + id
	switch {
	case d.IntN(4) == 0:
		return command{"SET", user + ":page", strings.Repeat(d.member(), pageBytes/4/(1+d.IntN(8)))}
	case size >= bigMost:
		return command{pick(d, "DEL", "UNLINK"), user + ":big"}
	case size > 0 && d.IntN(3) == 0:
		return chunk("SREM", user+":big", d.IntN(bigMost))
	default:
		return chunk("SADD", user+":big", d.IntN(bigMost))
	}
}

// chunk is a command with many members, from the one with that number on.
func chunk(name, key string, first int) command {
	c := command{name, key}
	for i := range bigChunk {
		c = append(c, "member-"+strconv.Itoa(first+i))
	}
	return c
}
