package metrics

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

// cursor is where a list goes on: after the item with this key, and among those
// with the same key after this id.
type cursor struct {
	key int64
	id  []byte
}

// cursorVersion changes with the layout: version, tag of the list, key, id.
const (
	cursorVersion = 1
	cursorTag     = 8
	cursorHead    = 1 + cursorTag + 8
)

// encode returns the cursor for the client to hand back with the same question.
// It is opaque to keep clients from building on it, and no secret: whatever it
// says, the statement shows no more than the caller may see.
func (c cursor) encode(list ...string) string {
	bytes := append([]byte{cursorVersion}, tagOf(list)...)
	bytes = binary.BigEndian.AppendUint64(bytes, uint64(c.key))
	return base64.RawURLEncoding.EncodeToString(append(bytes, c.id...))
}

// parseCursor reads what encode returned for the same list. The empty text is no
// cursor, and anything else a fault that says so.
func parseCursor(text string, list ...string) (c cursor, given bool, err error) {
	if text == "" {
		return cursor{}, false, nil
	}
	// Strict, so that one position has one spelling.
	bytes, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(bytes) < cursorHead || bytes[0] != cursorVersion || string(bytes[1:1+cursorTag]) != string(tagOf(list)) {
		return cursor{}, false, badCursor()
	}
	return cursor{int64(binary.BigEndian.Uint64(bytes[1+cursorTag:])), bytes[cursorHead:]}, true, nil
}

func badCursor() error {
	return fault.InvalidField("query.cursor", "must be the next of an earlier answer to this very question; leave it out to begin at the top")
}

// tagOf tells one list from another.
func tagOf(list []string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(list, "\x00")))
	return sum[:cursorTag]
}
