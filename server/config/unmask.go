package config

import "reflect"

// A text with masks that comes back from where it was shown: each mask stands for the
// secret that it hides, as long as that is sent to where it was sent before.

// Unmasked is a config's text with its secrets put back.
type Unmasked struct {
	Text []byte

	shown []byte    // the text with masks
	root  *jsonNode // of shown, with the secrets for values
	err   error     // why the text is no JSON
	lost  []finding // masks that hide nothing
}

// Unmask puts the secrets of the present text of the file back in the places of masks.
func Unmask(text, present []byte) Unmasked {
	u := Unmasked{Text: text, shown: text}
	if u.root, u.err = parseJSONC(text); u.err != nil {
		return u
	}
	known := map[string]token{}
	if secrets, err := secretTokens(present, isOpen); err == nil {
		for _, t := range secrets {
			known[t.id] = t
		}
	}
	config := place{t: reflect.TypeFor[Config]()}
	walkStrings(u.root, config, func(n *jsonNode, p place) { // addresses first, as the others depend on them
		if hidden, ok := known[p.id]; ok && p.isAddress && string(text[n.at:n.end]) == secretMask {
			n.text = hidden.value
		}
	})
	var masks []token
	walkStrings(u.root, config, func(n *jsonNode, p place) {
		hidden, ok := known[p.id]
		switch {
		case string(text[n.at:n.end]) != secretMask:
		case !ok:
			u.lost = append(u.lost, finding{n.at, p.path, "*** hides nothing that the file holds under this name; write the value"})
		case hidden.address != p.address && !p.keepsSecrets:
			u.lost = append(u.lost, finding{n.at, p.path, "*** hides what went to another address, which has changed here; write the value again"})
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
