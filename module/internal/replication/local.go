package replication

import (
	"errors"
	"time"
)

// Reasons why Local.Do may not run.
var (
	ErrReplica = errors.New("this server is a replica; its master speaks to the remote")
	ErrLoading = errors.New("this server is still loading its data set; try again when it has")
)

// Local is the server that the module lives in.
type Local interface {
	// Do runs f while nobody else uses the server's data set, which makes
	// everybody wait: f must take less than half a millisecond. It answers
	// ErrReplica or ErrLoading, or that the module is being unloaded,
	// without having run f. What f writes becomes durable, and reaches
	// replicas, as one transaction. It may be called from any goroutine,
	// but not from within f, nor by whoever already has the data set to
	// itself.
	Do(f func(Data)) error

	// Unsettle forgets all that Data.Settle has noted, and Engine.Look has told. It may
	// be called from any goroutine.
	Unsettle()

	// Commands counts the commands that clients have sent: it tells whether there
	// is anybody whom Do makes wait. It may be called from any goroutine.
	Commands() uint64
}

// Data is the local data set, database 0, for the time of one Local.Do.
type Data interface {
	// Settle notes that nobody has to wait for key until something happens to it, or
	// Local.Unsettle is called, or was called since the data set is ours.
	Settle(key string)

	// Stat looks at a key, without making it look used.
	Stat(key string) Stat

	// Read runs a command that changes nothing; Write one that may. Both
	// return the reply as RESP2 bytes. An error means that the command was
	// not run; an error reply is a reply.
	Read(name string, args ...string) (string, error)
	Write(name string, args ...string) (string, error)

	// WriteAlways is Write for what must not be refused for want of memory.
	WriteAlways(name string, args ...string) (string, error)
}

// A Stat is what can be known of a key without reading its value.
type Stat struct {
	Type     string    // as the command TYPE names it: set, hash …, none
	Length   int       // elements, or bytes of a string
	ExpireAt time.Time // zero: never
}
