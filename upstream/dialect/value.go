package dialect

import "iter"

// A value is the text of one JSON value that spanValue has passed, with no white space around it. It is read where it
// stands, without being decoded or copied, so that it costs no memory however large it is. Each call below takes the
// time of one pass over it: who descends into values that a client nests bounds how deep. What is not valid in it
// ends the reading.
type value []byte

// newValue returns the value in text, or nil if text is no JSON object or has anything else around it than white space.
func newValue(text []byte) value {
	i := spanSpace(text, 0)
	if i == len(text) || text[i] != '{' {
		return nil
	}
	end, fault := spanValue(text, i)
	if fault != "" || spanSpace(text, end) != len(text) {
		return nil
	}
	return value(text[i:end])
}

func (v value) isObject() bool { return len(v) > 0 && v[0] == '{' }
func (v value) isArray() bool  { return len(v) > 0 && v[0] == '[' }

// is reports whether v is the string s.
func (v value) is(s string) bool { return len(v) > 0 && v[0] == '"' && textIs(v.raw(), s) }

// raw returns what stands between the quotes of a string, escapes and all; nil of any other value.
func (v value) raw() []byte {
	if len(v) == 0 || v[0] != '"' {
		return nil
	}
	return v[1 : len(v)-1]
}

// get returns an object's member of that name, the last one if there are several; nil if there is none or v is no
// object.
func (v value) get(name string) (found value) {
	for key, member := range v.members() {
		if textIs(key, name) {
			found = member
		}
	}
	return found
}

// members yields the members of an object: what stands between the quotes of the name, and the value.
func (v value) members() iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		if !v.isObject() {
			return
		}
		for i := spanSpace(v, 1); v[i] != '}'; {
			nameEnd, fault := spanName(v, i)
			if fault != "" {
				return
			}
			start, fault := spanColon(v, nameEnd)
			if fault != "" {
				return
			}
			end, fault := spanValue(v, start)
			if fault != "" || !yield(v[i+1:nameEnd-1], v[start:end]) {
				return
			}
			i = afterComma(v, end)
		}
	}
}

// elements yields the elements of an array; none of any other value.
func (v value) elements() iter.Seq[value] {
	return func(yield func(value) bool) {
		if !v.isArray() {
			return
		}
		for i := spanSpace(v, 1); v[i] != ']'; {
			end, fault := spanValue(v, i)
			if fault != "" || !yield(v[i:end]) {
				return
			}
			i = afterComma(v, end)
		}
	}
}

// afterComma returns where the next member or element begins after the one that ends at i, or the closer stands.
func afterComma(v value, i int) int {
	if i = spanSpace(v, i); v[i] == ',' {
		i = spanSpace(v, i+1)
	}
	return i
}
