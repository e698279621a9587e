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

	"github.com/go-json-experiment/json/jsontext"
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
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errors.New("is not a JSON object")
	}
	seen = make(map[string]bool, len(o))
	for dec.PeekKind() != '}' {
		t, err := dec.ReadToken()
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return nil, errors.New("has a member twice")
		}
		if err != nil {
			return nil, errors.New("is not JSON")
		}
		name := t.String()
		target, known := o[name]
		if !known {
			return nil, fmt.Errorf("has a member %.40q that does not belong there", name)
		}
		if err := readValue(dec, target); err != nil {
			return nil, fmt.Errorf("has a member %q that %w", name, err)
		}
		seen[name] = true
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, errors.New("is not JSON")
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
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

func readValue(dec *jsontext.Decoder, target any) error {
	if keys, ok := target.(*[]json.RawMessage); ok {
		list, err := dec.ReadValue()
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return errors.New("has a member twice within")
		}
		if err != nil || json.Unmarshal(list, keys) != nil {
			return errors.New("is not an array")
		}
		return nil
	}
	value, err := dec.ReadToken()
	if err != nil {
		return errors.New("is not JSON")
	}
	switch target := target.(type) {
	case *string:
		if value.Kind() != '"' {
			return errors.New("is not a string")
		}
		*target = value.String()
	case *int64:
		if value.Kind() != '0' {
			return errors.New("is not a whole number")
		}
		if *target, err = strconv.ParseInt(value.String(), 10, 64); err != nil {
			return errors.New("is not a whole number")
		}
	}
	return nil
}
