package config

// A text with masks that comes back from where it was shown: each mask stands for the
// secret that it hides.

import (
	"slices"
	"unicode/utf8"
)

// Unmasked is a config's text with its secrets put back.
type Unmasked struct {
	Text   []byte
	lost   []finding // masks that hide nothing, by their offset in the text with masks
	masked []byte
	masks  []token // in masked, those that were replaced
}

// Unmask puts the secrets of the present text back in the places of masks.
func Unmask(text, present []byte) Unmasked {
	u := Unmasked{Text: text, masked: text}
	root, err := parseJSONC(text)
	if err != nil {
		return u // Check will say what is wrong
	}
	known := map[string]string{}
	if secrets, err := secretTokens(present, onlyReferences.MatchString); err == nil {
		for _, t := range secrets {
			known[t.id] = string(present[t.from:t.to])
		}
	}
	walkStrings(root, "", nil, false, func(n *jsonNode, id string, _ bool) {
		switch _, ok := known[id]; {
		case string(text[n.at:n.end]) != secretMask:
		case !ok:
			u.lost = append(u.lost, finding{n.at, id, "*** hides nothing that the file holds under this name; write the value"})
		default:
			u.masks = append(u.masks, token{id: id, from: n.at, to: n.end})
		}
	})
	for _, c := range root.comments { // one that was edited keeps its mask
		if shown := string(text[c[0]:c[1]]); known[shown] != "" {
			u.masks = append(u.masks, token{id: shown, from: c[0], to: c[1]})
		}
	}
	for i, t := range u.masks {
		u.masks[i].hidden = known[t.id]
	}
	u.Text = replaceTokens(text, u.masks, func(t token) string { return t.hidden })
	return u
}

// Back returns faults of the text with secrets the columns that they have in the text
// with masks.
func (u Unmasked) Back(faults Faults) Faults {
	shift := 0
	var starts []int // of the secrets in Text
	var widths []int // by how many characters each is longer than its mask
	for _, t := range u.masks {
		starts = append(starts, t.from+shift)
		widths = append(widths, utf8.RuneCountInString(t.hidden)-utf8.RuneCount(u.masked[t.from:t.to]))
		shift += len(t.hidden) - (t.to - t.from)
	}
	found := make([]finding, len(starts))
	for i, at := range starts {
		found[i] = finding{at: at}
	}
	moved := slices.Clone(faults)
	for i, secret := range locateFindings("", u.Text, found) {
		for j := range moved {
			if moved[j].Line == secret.Line && faults[j].Column > secret.Column {
				moved[j].Column -= widths[i]
			}
		}
	}
	return moved
}

// Lost returns the masks that hide nothing, as faults of the file at path.
func (u Unmasked) Lost(path string) Faults { return locateFindings(path, u.masked, u.lost) }
