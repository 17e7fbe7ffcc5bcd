package replication

import (
	"errors"
	"fmt"
	"strings"
)

var (
	errTypeCannotTravel  = errors.New("a value of this type cannot travel; sets, hashes, sorted sets, lists, strings and streams can")
	errChanged           = errors.New("it was removed or replaced while it was being read; the next SYNC copies what is there then")
	errSponsorsUnknown   = errors.New("the sponsors are not known yet: the set is not here, and has not come back from the remote; SPONSOR.STATUS tells more")
	errReplacedMeanwhile = errors.New("it was replaced while it was being read")
	errDisputed          = errors.New("it was written here while it was away, and the remote has another value; SPONSOR.RETRY with its name sends this one in its place")
	errStillSent         = errors.New("a change to it is still being sent; run it again")
	errLeft              = errors.New("its owner has stopped sponsoring meanwhile")
	errPruneBlind        = errors.New("PRUNE must know which keys are here in part: it wants sponsor.write-behind yes, and what was here at first to be copied; try again when SPONSOR.WAIT 0 has answered")
	errPruneNobody       = errors.New("PRUNE would remove everybody's keys from the remote, since nobody is a sponsor; SPONSOR.FORGET erases one person's")
	errNoSet             = errors.New("it is not a set: nobody is a sponsor")
	errGone              = errors.New("its value was evicted or flushed before it was sent")
	errSuperseded        = errors.New("another server with this data set writes to the remote")
	errRemoteOther       = errors.New("another data set has been copied to the remote")
	errRemoteOld         = errors.New("the remote has lost what it had acknowledged")
	errReplaced          = errors.New("the data set was flushed, loaded or swapped meanwhile; run SPONSOR.SYNC again")
)

// isWrongType reports whether a server has refused a command because the key holds a
// value of another type.
func isWrongType(err error) bool { return strings.Contains(err.Error(), "WRONGTYPE ") }

// keyError says which key an error is about. The key may hold any bytes. What a
// server says of a command's other arguments is cut off: those are people's
// data, and this goes to the log.
func keyError(operation, key string, err error) error {
	text := err.Error()
	if short, _, cut := strings.Cut(text, ", with args beginning with"); cut {
		err = errors.New(short)
	}
	return fmt.Errorf("%s %q: %w", operation, key, err)
}
