package diagnosis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// said is a value and the field that says it.
type said struct{ field, value string }

// agreement is the value that most fields say, and the fields that say another.
// Where no value has most, every field is among those.
func agreement(all []said) (value string, others []said) {
	count := map[string]int{}
	for _, s := range all {
		count[s.value]++
	}
	for _, s := range all {
		if count[s.value] > count[value] {
			value = s.value
		}
	}
	for _, s := range all {
		if s.value != value {
			others = append(others, s)
		}
	}
	if 2*count[value] <= len(all) && len(others) > 0 {
		others = all
	}
	return value, others
}

// pattern is a function's value with its name left open: prod-auth is prod-*.
func pattern(function, value string) string {
	return strings.ReplaceAll(value, function, "*")
}

// convention finds the functions whose value is not formed like most. Where there
// are but two, or most go ways of their own, there is no convention.
func convention(values map[string]string) (like string, others []string) {
	if len(values) < 3 {
		return "", nil
	}
	var all []said
	for _, name := range sorted(values) {
		all = append(all, said{name, pattern(name, values[name])})
	}
	like, odd := agreement(all)
	if len(odd) == len(all) {
		return "", nil
	}
	for _, s := range odd {
		others = append(others, s.field)
	}
	return like, others
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func fieldsOf(all []said) []string {
	var fields []string
	for _, s := range all {
		fields = append(fields, s.field)
	}
	return fields
}

func list(all []said) string {
	var parts []string
	for _, s := range all {
		parts = append(parts, fmt.Sprintf("%s says %q", s.field, s.value))
	}
	return strings.Join(parts, ", ")
}

// merge completes a by b.
func merge(a, b map[string]string) map[string]string {
	all := maps.Clone(b)
	for name, value := range a {
		all[name] = cmp.Or(value, all[name])
	}
	return all
}
