// Package resp reads replies in the RESP2 protocol
// (https://redis.io/docs/latest/develop/reference/protocol-spec/) as the
// Modules API hands them out: complete, in memory, and of a shape that the
// caller knows. What it returns shares the memory of the reply. Everything in
// it may be used concurrently.
package resp

import (
	"fmt"
	"strconv"
	"strings"
)

// An Error is an error reply, such as "WRONGTYPE Operation against …".
type Error string

func (e Error) Error() string { return string(e) }

// Err is the error that reply is, or nil.
func Err(reply string) error {
	line, _, err := first(reply)
	if err != nil {
		return err
	}
	if line[0] == '-' {
		return Error(line[1:])
	}
	return nil
}

// Int reads an integer reply.
func Int(reply string) (int64, error) {
	if err := Err(reply); err != nil {
		return 0, err
	}
	line, _, err := first(reply)
	if err != nil {
		return 0, err
	}
	if line[0] != ':' {
		return 0, malformed(reply)
	}
	n, err := strconv.ParseInt(line[1:], 10, 64)
	if err != nil {
		return 0, malformed(reply)
	}
	return n, nil
}

// Bulk reads a bulk string; there is none if ok is false.
func Bulk(reply string) (s string, ok bool, err error) {
	if err := Err(reply); err != nil {
		return "", false, err
	}
	if reply == "$-1\r\n" {
		return "", false, nil
	}
	s, rest, err := bulk(reply)
	if err != nil || rest != "" {
		return "", false, malformed(reply)
	}
	return s, true, nil
}

// Strings reads an array of bulk strings.
func Strings(reply string) ([]string, error) {
	if err := Err(reply); err != nil {
		return nil, err
	}
	items, rest, err := array(reply)
	if err != nil || rest != "" {
		return nil, malformed(reply)
	}
	return items, nil
}

// Page reads the reply of SCAN, SSCAN or HSCAN: the next cursor, which is "0"
// at the end, and the items.
func Page(reply string) (cursor string, items []string, err error) {
	if err := Err(reply); err != nil {
		return "", nil, err
	}
	line, rest, err := first(reply)
	if err != nil || line != "*2" {
		return "", nil, malformed(reply)
	}
	if cursor, rest, err = bulk(rest); err != nil {
		return "", nil, malformed(reply)
	}
	items, rest, err = array(rest)
	if err != nil || rest != "" {
		return "", nil, malformed(reply)
	}
	return cursor, items, nil
}

// Any reads any reply: into an int64, a string, a []any, an Error, or nil.
func Any(reply string) (any, error) {
	v, rest, err := value(reply, maxDepth)
	if err != nil || rest != "" {
		return nil, malformed(reply)
	}
	return v, nil
}

// maxDepth is how deep arrays may stand in arrays.
const maxDepth = 16

func value(s string, depth int) (v any, rest string, err error) {
	line, after, err := first(s)
	if err != nil || depth == 0 {
		return nil, "", malformed(s)
	}
	switch line[0] {
	case '-':
		return Error(line[1:]), after, nil
	case '+':
		return line[1:], after, nil
	case ':':
		n, err := strconv.ParseInt(line[1:], 10, 64)
		return n, after, err
	case '$':
		if line == "$-1" {
			return nil, after, nil
		}
		return bulk(s)
	case '*':
		if line == "*-1" {
			return nil, after, nil
		}
		n, err := count(line, '*')
		if err != nil {
			return nil, "", err
		}
		list := make([]any, 0, min(n, len(after)/4)) // an item has at least four bytes
		for range n {
			var item any
			if item, after, err = value(after, depth-1); err != nil {
				return nil, "", err
			}
			list = append(list, item)
		}
		return list, after, nil
	}
	return nil, "", malformed(s)
}

func array(s string) (items []string, rest string, err error) {
	line, rest, err := first(s)
	if err != nil {
		return nil, "", err
	}
	n, err := count(line, '*')
	if err != nil {
		return nil, "", err
	}
	// An item has at least five bytes, so n cannot make us reserve more
	// than the reply holds.
	items = make([]string, 0, min(n, len(rest)/5))
	for range n {
		var item string
		if item, rest, err = bulk(rest); err != nil {
			return nil, "", err
		}
		items = append(items, item)
	}
	return items, rest, nil
}

func bulk(s string) (item, rest string, err error) {
	line, rest, err := first(s)
	if err != nil {
		return "", "", err
	}
	n, err := count(line, '$')
	if err != nil || len(rest)-2 < n || rest[n:n+2] != "\r\n" {
		return "", "", malformed(s)
	}
	return rest[:n], rest[n+2:], nil
}

func count(line string, kind byte) (int, error) {
	if line[0] != kind {
		return 0, malformed(line)
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n < 0 {
		return 0, malformed(line)
	}
	return n, nil
}

// first splits off the first line, which has at least one byte.
func first(s string) (line, rest string, err error) {
	line, rest, ok := strings.Cut(s, "\r\n")
	if !ok || line == "" {
		return "", "", malformed(s)
	}
	return line, rest, nil
}

// malformed does not quote s, which may hold people's data.
func malformed(s string) error {
	return fmt.Errorf("malformed reply of %d bytes, beginning with %.1q", len(s), s)
}
