package replication

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// A walk reads values of a kind page by page, here or on the remote.
type walk interface {
	// commands read the page at cursor, which is empty at first, of about count
	// elements, or bytes of a string.
	commands(key, cursor string, count int) []command

	// page is what the replies to these commands say, which are like those of
	// resp.Any, or a raw one: the page's items, and the next cursor, which is
	// empty after the last page.
	page(cursor string, count int, replies []any) (items []string, next string, err error)

	// steady reports whether a value that is written while it is walked through
	// may be taken for what it was at some time: what changes meanwhile is told
	// by a later change.
	steady() bool
}

// A rawReply is one in RESP2, still to be read.
type rawReply string

// wholeValues is a count that no value reaches.
const wholeValues = math.MaxInt32

// byCursor is the walk of SSCAN, HSCAN and ZSCAN.
type byCursor string

func (w byCursor) steady() bool { return true }

func (w byCursor) commands(key, cursor string, count int) []command {
	if cursor == "" {
		cursor = "0"
	}
	return []command{{string(w), key, cursor, "COUNT", strconv.Itoa(count)}}
}

func (w byCursor) page(_ string, _ int, replies []any) (items []string, next string, err error) {
	switch reply := replies[0].(type) {
	case rawReply:
		next, items, err = resp.Page(string(reply))
	case []any:
		if len(reply) != 2 {
			return nil, "", errShape
		}
		if next, err = text(reply[0]); err == nil {
			items, err = texts(reply[1])
		}
	default:
		return nil, "", shapeError(reply)
	}
	if next == "0" {
		next = ""
	}
	return items, next, err
}

// byOffset is the walk of LRANGE and GETRANGE.
type byOffset string

func (w byOffset) steady() bool { return false }

func (w byOffset) commands(key, cursor string, count int) []command {
	from := w.offset(cursor)
	return []command{{string(w), key, strconv.Itoa(from), strconv.Itoa(from + count - 1)}}
}

func (w byOffset) offset(cursor string) int {
	if cursor == "" {
		return 0
	}
	n, _ := strconv.Atoi(cursor) // our own
	return n
}

func (w byOffset) page(cursor string, count int, replies []any) (items []string, next string, err error) {
	reply, err := unraw(replies[0])
	if err != nil {
		return nil, "", err
	}
	var read int
	if piece, ok := reply.(string); ok {
		read = len(piece)
		if read > 0 || cursor == "" {
			items = []string{piece}
		}
	} else {
		if items, err = texts(reply); err != nil {
			return nil, "", err
		}
		read = len(items)
	}
	if read >= count {
		next = strconv.Itoa(w.offset(cursor) + read)
	}
	return items, next, nil
}

// readAll reads all of key at once. The reply is for unpack, because that takes time
// in which others may have the data set.
func (k *kind) readAll(d Data, key string) (reply string, err error) {
	if k.all != nil {
		return d.Read(k.all[0], append([]string{key}, k.all[1:]...)...)
	}
	cmds := k.walk.commands(key, "", wholeValues)
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(cmds))
	for _, cmd := range cmds {
		reply, err := d.Read(cmd[0], cmd[1:]...)
		if err != nil {
			return "", err
		}
		b.WriteString(reply)
	}
	return b.String(), nil
}

// unpack reads the items out of what readAll has read.
func (k *kind) unpack(reply string) (items []string, err error) {
	if k.all != nil {
		return resp.Strings(reply)
	}
	list, err := resp.Any(reply)
	if err != nil {
		return nil, err
	}
	replies, ok := list.([]any)
	if !ok {
		return nil, errShape
	}
	items, _, err = k.walk.page("", wholeValues, replies)
	return items, err
}

// pageSize is how many elements make a page where their sizes are not known.
const pageSize = 1000

// pageSize is pageSize, or how many bytes of a string make a page.
func (k *kind) pageSize() int {
	if k.name == "string" {
		return partBytes
	}
	return pageSize
}

// pageOf is about how many elements, or bytes of a string, make a page of about
// partBytes, if a value of so many takes so many bytes.
func (k *kind) pageOf(elements, bytes int) int {
	if k.name == "string" {
		return partBytes
	}
	each := max(1, bytes/max(1, elements))
	return min(max(1, partBytes/each), partElements)
}

// unraw reads a reply that is still raw.
func unraw(reply any) (any, error) {
	if raw, ok := reply.(rawReply); ok {
		var err error
		if reply, err = resp.Any(string(raw)); err != nil {
			return nil, err
		}
	}
	if err, ok := reply.(error); ok {
		return nil, err
	}
	return reply, nil
}

func text(reply any) (string, error) {
	s, ok := reply.(string)
	if !ok {
		return "", shapeError(reply)
	}
	return s, nil
}

func texts(reply any) ([]string, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, shapeError(reply)
	}
	items := make([]string, len(list))
	for i, item := range list {
		var err error
		if items[i], err = text(item); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// shapeError is the error that a reply of another shape than ours is.
func shapeError(reply any) error {
	if err, ok := reply.(error); ok {
		return err
	}
	return errShape
}
