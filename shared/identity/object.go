package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// object says where the members of a JSON object go: each name to a *string, a
// *int64 or a *[]json.RawMessage.
type object map[string]any

// read reads text, which must be one object with no members but these, each at
// most once, spelled exactly so, of the right type. Package encoding/json
// forgives all of that (of two members the last wins, EXP passes for exp), and
// two readers who forgive differently disagree on what was signed.
func (o object) read(text []byte) (seen map[string]bool, err error) {
	if !utf8.Valid(text) {
		return nil, errors.New("is not UTF-8 text")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("is not a JSON object")
	}
	seen = make(map[string]bool, len(o))
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, errors.New("is not JSON")
		}
		name := t.(string) // the decoder lets nothing else stand here
		target, known := o[name]
		switch {
		case !known:
			return nil, fmt.Errorf("has a member %.40q that does not belong there", name)
		case seen[name]:
			return nil, fmt.Errorf("has the member %q twice", name)
		}
		if err := readValue(dec, target); err != nil {
			return nil, fmt.Errorf("has a member %q that %w", name, err)
		}
		seen[name] = true
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("is not JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something after its end")
	}
	return seen, nil
}

// readWhole is read for objects of which no member may be absent.
func (o object) readWhole(text []byte) error {
	seen, err := o.read(text)
	if err != nil {
		return err
	}
	if len(seen) == len(o) {
		return nil
	}
	absent := slices.DeleteFunc(slices.Sorted(maps.Keys(o)), func(name string) bool { return seen[name] })
	return fmt.Errorf("lacks the member %q", absent[0])
}

func readValue(dec *json.Decoder, target any) error {
	if keys, ok := target.(*[]json.RawMessage); ok {
		if dec.Decode(keys) != nil {
			return errors.New("is not an array")
		}
		return nil
	}
	value, err := dec.Token()
	if err != nil {
		return errors.New("is not JSON")
	}
	switch target := target.(type) {
	case *string:
		text, ok := value.(string)
		if !ok {
			return errors.New("is not a string")
		}
		*target = text
	case *int64:
		number, _ := value.(json.Number)
		if *target, err = strconv.ParseInt(number.String(), 10, 64); err != nil {
			return errors.New("is not a whole number")
		}
	}
	return nil
}
