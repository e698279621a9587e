// Package keys is the command that makes keys for tokens and takes a set of them
// through a rotation. It is a filter: a set comes in on standard input and goes
// out on standard output, and what is said beside that holds no secret. Keeping
// the sets is left to the operator's Secret Manager.
package keys

import (
	"fmt"
	"io"
	"strings"

	"github.com/devops-dashboard/dashboard/shared/identity"
)

const usage = `usage: keys VERB SET [KID] <set >set

SET is access (ACCESS_SIGNING_KEYS) or refresh (REFRESH_KEYS). VERB is one of
  new      prints a fresh set; reads nothing
  publish  adds a fresh key, which does not sign yet
  sign     has the key KID sign from now on
  retire   removes the key KID, which does not sign any more
  list     prints the ids of the keys, the one that signs first
  public   prints the set of public keys (ACCESS_PUBLIC_KEYS) of access
The rotation as a whole stands in the README, under Deploying and operating.
`

// setMost is more than any set is long.
const setMost = 64 << 10

// kind is a kind of set, and how long after its last token a key is needed.
type kind struct {
	identity.KeyKind
	outlives string
}

var kinds = map[string]kind{
	"access":  {identity.AccessKeys, "20 minutes"},      // 15 minutes, clocks that differ, and what instances take to follow
	"refresh": {identity.RefreshKeys, "7 days and 1 h"}, // an unused session's life
}

// Run is the command. It returns the exit code: 2 when it does not understand its
// arguments, 1 when the set will not do; then it prints no set.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	verb, set, id, ok := understand(args)
	if !ok {
		fmt.Fprint(stderr, usage)
		return 2
	}
	text, note, err := do(verb, set, id, stdin)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if _, err := fmt.Fprintln(stdout, text); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if note != "" {
		fmt.Fprintln(stderr, note)
	}
	return 0
}

func understand(args []string) (verb string, set kind, id string, ok bool) {
	if len(args) < 2 {
		return "", kind{}, "", false
	}
	verb = args[0]
	set, ok = kinds[args[1]]
	switch verb {
	case "sign", "retire":
		if len(args) != 3 {
			return "", kind{}, "", false
		}
		return verb, set, args[2], ok
	case "public":
		ok = ok && args[1] == "access"
	case "new", "publish", "list":
	default:
		ok = false
	}
	return verb, set, "", ok && len(args) == 2
}

// do returns what to print, and what to say beside it.
func do(verb string, kind kind, id string, stdin io.Reader) (text, note string, err error) {
	if verb == "new" {
		return kind.New().Secret(), "", nil
	}
	read, err := io.ReadAll(io.LimitReader(stdin, setMost))
	if err != nil {
		return "", "", err
	}
	set, err := kind.Read(string(read))
	if err != nil {
		return "", "", err
	}
	switch verb {
	case "publish":
		set, id, err = set.Publish()
		note = id + " is new. Two minutes after its set, for access the public one as well, is in use everywhere, it can sign."
	case "sign":
		retiring := set.IDs()[0]
		set, err = set.Sign(id)
		note = id + " signs. " + retiring + " is needed for another " + kind.outlives + "."
		if retiring == id {
			note = id + " signs already."
		}
	case "retire":
		set, err = set.Retire(id)
		note = id + " is removed."
	case "list":
		return strings.Join(set.IDs(), "\n"), "", nil
	case "public":
		return set.Public(), "", nil
	}
	if err != nil {
		return "", "", err
	}
	return set.Secret(), note, nil
}
