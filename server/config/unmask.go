package config

// A text with masks that comes back from where it was shown: each mask stands for the
// secret that it hides.

// Unmasked is a config's text with its secrets put back.
type Unmasked struct {
	Text []byte

	shown []byte    // the text with masks
	root  *jsonNode // of shown, with the secrets for values
	err   error     // why there is no root
	lost  []finding // masks that hide nothing
}

// Unmask puts the secrets of the present text of the file back in the places of masks.
func Unmask(text, present []byte) Unmasked {
	u := Unmasked{Text: text, shown: text}
	if u.root, u.err = parseJSONC(text); u.err != nil {
		return u
	}
	known := map[string]token{}
	if secrets, err := secretTokens(present, onlyReferences.MatchString); err == nil {
		for _, t := range secrets {
			known[t.id] = t
		}
	}
	var masks []token
	walkStrings(u.root, "", nil, false, func(n *jsonNode, id string, _ bool) {
		hidden, ok := known[id]
		switch {
		case string(text[n.at:n.end]) != secretMask:
		case !ok:
			u.lost = append(u.lost, finding{n.at, id, "*** hides nothing that the file holds under this name; write the value"})
		default:
			n.text = hidden.value
			masks = append(masks, token{from: n.at, to: n.end, shown: string(present[hidden.from:hidden.to])})
		}
	})
	for _, c := range u.root.comments { // one that was edited keeps its mask
		if hidden, ok := known[string(text[c[0]:c[1]])]; ok {
			masks = append(masks, token{from: c[0], to: c[1], shown: string(present[hidden.from:hidden.to])})
		}
	}
	u.Text = replaceTokens(text, masks)
	return u
}
