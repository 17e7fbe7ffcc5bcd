package replication

import (
	"encoding/binary"
	"slices"
	"strconv"
)

// A stream travels as the commands that make it anew, each without the key and
// packed into one item: an XADD for each entry, an XSETID for its last id and its
// counts, an XGROUP CREATE for each group. What consumers have read and not
// acknowledged does not travel: Redis reports no event for that.

// byID is the walk of XRANGE.
type byID struct{}

// A stream that is written while it is read is what it was, but for entries at its
// ends.
func (byID) steady() bool { return true }

func (byID) commands(key, cursor string, count int) []command {
	from := "-"
	if cursor != "" {
		from = "(" + cursor
	}
	return []command{
		{"XRANGE", key, from, "+", "COUNT", strconv.Itoa(count)},
		{"XINFO", "STREAM", key},
		{"XINFO", "GROUPS", key},
	}
}

func (byID) page(_ string, count int, replies []any) (items []string, next string, err error) {
	parts := make([][]any, len(replies))
	for i, reply := range replies {
		reply, err := unraw(reply)
		if err != nil {
			return nil, "", err
		}
		list, ok := reply.([]any)
		if !ok {
			return nil, "", errShape
		}
		parts[i] = list
	}
	if len(parts) != 3 {
		return nil, "", errShape
	}
	id := ""
	for _, entry := range parts[0] {
		pair, ok := entry.([]any)
		if !ok || len(pair) != 2 {
			return nil, "", errShape
		}
		var fields []string
		if id, err = text(pair[0]); err != nil {
			return nil, "", err
		}
		if fields, err = texts(pair[1]); err != nil {
			return nil, "", err
		}
		items = append(items, pack(append([]string{"XADD", id}, fields...)))
	}
	if len(parts[0]) >= count {
		return items, id, nil
	}
	rest, err := streamEnd(parts[1], parts[2])
	return append(items, rest...), "", err
}

// streamEnd makes items of what XINFO STREAM and XINFO GROUPS say.
func streamEnd(stream, groups []any) (items []string, err error) {
	about, err := infoFields(stream)
	if err != nil {
		return nil, err
	}
	last := about["last-generated-id"]
	if about["length"] == "0" {
		// An entry that goes at once makes a stream without entries.
		id := last
		if id == "0-0" {
			id = "0-1"
		}
		items = append(items, pack([]string{"XADD", "MAXLEN", "0", id, "-", "-"}))
	}
	items = append(items, pack([]string{
		"XSETID", last, "ENTRIESADDED", about["entries-added"], "MAXDELETEDID", about["max-deleted-entry-id"],
	}))
	for _, group := range groups {
		list, ok := group.([]any)
		if !ok {
			return nil, errShape
		}
		about, err := infoFields(list)
		if err != nil {
			return nil, err
		}
		create := []string{"XGROUP", "CREATE", about["name"], about["last-delivered-id"]}
		if read, ok := about["entries-read"]; ok {
			create = append(create, "ENTRIESREAD", read)
		}
		items = append(items, pack(create))
	}
	return items, nil
}

// infoFields are those fields of XINFO that are text or numbers.
func infoFields(list []any) (map[string]string, error) {
	fields := make(map[string]string)
	for pair := range slices.Chunk(list, 2) {
		name, err := text(pair[0])
		if err != nil || len(pair) != 2 {
			return nil, errShape
		}
		switch value := pair[1].(type) {
		case string:
			fields[name] = value
		case int64:
			fields[name] = strconv.FormatInt(value, 10)
		}
	}
	return fields, nil
}

// streamCommand is the command that an item is, with the key.
func streamCommand(key, item string) command {
	args := unpackItem(item)
	at := 1
	if args[0] == "XGROUP" {
		at = 2 // behind CREATE
	}
	return slices.Insert(command(args), at, key)
}

// isEntry reports whether an item of a stream is an entry that stays.
func isEntry(item string) bool {
	args := unpackItem(item)
	return args[0] == "XADD" && args[1] != "MAXLEN"
}

// pack makes one item of args.
func pack(args []string) string {
	var b []byte
	for _, arg := range args {
		b = binary.AppendUvarint(b, uint64(len(arg)))
		b = append(b, arg...)
	}
	return string(b)
}

// unpackItem reads what pack, and nobody else, has made.
func unpackItem(item string) (args []string) {
	for rest := item; rest != ""; {
		n, size := binary.Uvarint([]byte(rest[:min(len(rest), binary.MaxVarintLen64)]))
		args = append(args, rest[size:size+int(n)])
		rest = rest[size+int(n):]
	}
	return args
}
