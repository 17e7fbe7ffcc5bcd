package journal

import (
	"encoding/binary"
	"errors"
	"maps"
)

// Limits of what a mark holds in the keyspace. Each write to a key that is marked
// already writes its mark anew, to the AOF and to replicas, so that it must be
// small. A mark with more elements is kept as one that says Whole; the engine
// remembers the elements as long as the server runs.
const (
	MaxElements = 64 // of one mark
	maxBytes    = 2048
)

const version = 1

// flags of an encoded mark
const (
	flagExpiry = 1 << iota
	flagPartial
	flagErase
	flagCleared
	flagNoted
)

var errMalformed = errors.New("malformed mark")

// Encode makes the bytes that stand in the hash Key.
func (m *Mark) Encode() string { return m.encode(m.Elements, fits(m.Elements)) }

// EncodeBoth is the encoding of m with a newer mark on top of it. It changes
// neither.
func EncodeBoth(m, newer *Mark) string {
	if newer.Base == Deleted || newer.Base == Whole && !newer.Partial {
		both := *newer // what was before does not matter, but for this
		both.Cleared = newer.Cleared || newer.Base == Whole && m.clears()
		both.Seq = max(m.Seq, newer.Seq)
		both.Erase = m.Erase || newer.Erase
		return both.Encode()
	}
	if len(m.Elements)+len(newer.Elements) > MaxElements {
		whole := Mark{Seq: max(m.Seq, newer.Seq), Base: Whole, Partial: newer.Partial, Erase: m.Erase || newer.Erase, Cleared: m.clears() || newer.clears()}
		return whole.Encode()
	}
	both := *m
	both.Elements = maps.Clone(m.Elements)
	both.Add(*newer)
	return both.Encode()
}

func (m *Mark) encode(elements map[string]Element, fits bool) string {
	base, cleared := m.Base, m.Cleared
	switch {
	case fits:
	case m.Noted:
		elements = nil
	default:
		base, elements, cleared = Whole, nil, m.clears()
	}
	flags := byte(0)
	if cleared {
		flags |= flagCleared
	}
	if m.Noted {
		flags |= flagNoted
	}
	if m.HasExpiry {
		flags |= flagExpiry
	}
	if m.Partial {
		flags |= flagPartial
	}
	if m.Erase {
		flags |= flagErase
	}
	kind := m.Kind
	if len(elements) == 0 {
		kind = NoKind
	}
	b := make([]byte, 0, 64)
	b = append(b, version, byte(base), byte(kind), flags)
	b = binary.AppendUvarint(b, m.Seq)
	if m.HasExpiry {
		b = binary.AppendVarint(b, m.ExpireAt)
	}
	for name, element := range elements {
		b = appendString(b, name)
		if !element.Present {
			b = append(b, 0)
			continue
		}
		b = append(b, 1)
		if kind == Hash {
			b = appendString(b, element.Value)
		}
	}
	return string(b)
}

func fits(elements map[string]Element) bool {
	if len(elements) > MaxElements {
		return false
	}
	bytes := 0
	for name, element := range elements {
		bytes += len(name) + len(element.Value)
	}
	return bytes <= maxBytes
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Decode reads what Encode has made. A mark that cannot be read still says that
// its key has changed: then the error comes with a mark that says Whole and
// Partial, which is safe to send.
func Decode(text string) (Mark, error) {
	d := decoder{rest: text}
	m := d.mark()
	if d.err != nil {
		return Mark{Base: Whole, Partial: true}, d.err
	}
	return m, nil
}

type decoder struct {
	rest string
	err  error
}

func (d *decoder) mark() Mark {
	var m Mark
	if d.byte() != version {
		d.err = errMalformed
		return m
	}
	m.Base, m.Kind = Base(d.byte()), Kind(d.byte())
	flags := d.byte()
	m.Seq = d.uvarint()
	m.Partial, m.Erase = flags&flagPartial != 0, flags&flagErase != 0
	m.Cleared, m.Noted = flags&flagCleared != 0, flags&flagNoted != 0
	if m.HasExpiry = flags&flagExpiry != 0; m.HasExpiry {
		m.ExpireAt = d.varint()
	}
	if m.Base > Whole || m.Kind > ZSet || m.Kind == NoKind && d.rest != "" || flags > flagExpiry|flagPartial|flagErase|flagCleared|flagNoted {
		d.err = errMalformed
	}
	if m.Kind != NoKind {
		m.Elements = make(map[string]Element)
	}
	for d.err == nil && d.rest != "" {
		name := d.string()
		element := Element{Present: d.byte() == 1}
		if element.Present && m.Kind == Hash {
			element.Value = d.string()
		}
		m.Elements[name] = element
	}
	return m
}

func (d *decoder) byte() byte {
	if d.rest == "" {
		d.err = errMalformed
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint([]byte(d.rest[:min(len(d.rest), binary.MaxVarintLen64)]))
	return advance(d, v, n)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint([]byte(d.rest[:min(len(d.rest), binary.MaxVarintLen64)]))
	return advance(d, v, n)
}

// advance skips the n bytes that v was read from.
func advance[T any](d *decoder, v T, n int) T {
	if n <= 0 {
		d.err = errMalformed
		return v
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) string() string {
	n := d.uvarint()
	if d.err != nil || n > uint64(len(d.rest)) {
		d.err = errMalformed
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}
