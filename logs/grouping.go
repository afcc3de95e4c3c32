package logs

import "strings"

// Grouping is the fields of a record that make groups. The zero Grouping makes none.
type Grouping struct{ Model, Provider, Key bool }

// parseGrouping reads one name or two with a comma between, in any order.
func parseGrouping(text string) (by Grouping, ok bool) {
	fields := map[string]*bool{"model": &by.Model, "provider": &by.Provider, "key": &by.Key}
	for name := range strings.SplitSeq(text, ",") {
		field := fields[name]
		if field == nil || *field {
			return Grouping{}, false
		}
		*field = true
	}
	return by, by != Grouping{true, true, true}
}

// String returns the names of the fields with commas between, in one order.
func (by Grouping) String() string {
	return strings.Join(by.values(groupKey{"model", "provider", "key"}), ",")
}

// values returns those of key that by groups by.
func (by Grouping) values(key groupKey) (values []string) {
	if by.Model {
		values = append(values, key.model)
	}
	if by.Provider {
		values = append(values, key.provider)
	}
	if by.Key {
		values = append(values, key.key)
	}
	return values
}

// of returns the key of the group with these values.
func (by Grouping) of(model, provider, key string) (group groupKey) {
	if by.Model {
		group.model = model
	}
	if by.Provider {
		group.provider = provider
	}
	if by.Key {
		group.key = key
	}
	return group
}

// group makes the answer for a group.
func (by Grouping) group(key groupKey, sum Sum, series []Point) Group {
	g := Group{Name: Name(strings.Join(by.values(key), ", ")), Sum: sum, Series: series}
	if key == by.of(otherGroups, otherGroups, otherGroups) {
		g.Name = otherGroups
	}
	field := func(is bool, value string) *Name {
		if !is {
			return nil
		}
		return (*Name)(&value)
	}
	g.Model, g.Provider, g.Key = field(by.Model, key.model), field(by.Provider, key.provider), field(by.Key, key.key)
	return g
}
