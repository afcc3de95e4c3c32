package auth

// Keys that live in files: the key_file of a configured key, and the admin key
// that New makes when there is none.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const maxKeyFile = 4096 // bytes

// readKeyFiles returns keys with the contents of their key files in place of the
// files' names.
func readKeyFiles(keys []KeyConfig, fault func(path, message string)) []KeyConfig {
	keys = slices.Clone(keys)
	for i := range keys {
		c := &keys[i]
		if c.KeyFile == "" || c.Key != "" || c.KeySHA256 != "" {
			continue
		}
		key, err := readKeyFile(c.KeyFile)
		if err != nil {
			fault(fmt.Sprintf("keys[%d].key_file", i), err.Error())
			continue
		}
		c.Key, c.KeyFile = key, ""
	}
	return keys
}

// readKeyFile returns the key in file. The error does not quote file, where someone may
// have put the key itself.
func readKeyFile(file string) (string, error) {
	key, err := readTrimmed(file)
	switch reason := (*fs.PathError)(nil); {
	case errors.As(err, &reason):
		return "", fmt.Errorf("cannot be read: %v; a relative path starts at the config file's folder", reason.Err)
	case err != nil:
		return "", err
	case key == "":
		return "", errors.New("is empty; put the key into it")
	}
	if message := keyFault(key); message != "" {
		return "", errors.New(message)
	}
	return key, nil
}

// readTrimmed returns the text of file without the white space around it. More than a key
// takes is an error.
func readTrimmed(file string) (string, error) {
	text, _, err := ReadFile(file, maxKeyFile)
	switch {
	case errors.Is(err, ErrNotRegular):
		err = errors.New("is not a regular file; a pipe would be waited for")
	case errors.Is(err, ErrTooLarge):
		err = fmt.Errorf("is larger than %d bytes; it is to hold the key and nothing else", maxKeyFile)
	}
	return strings.TrimSpace(string(text)), err
}

// Why ReadFile does not read a file.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("too large")
)

// ReadFile returns the content and the mode of a file that the config names. It neither waits for a pipe's writer nor
// reads without end: anything but a regular file is ErrNotRegular, one of more than limit bytes ErrTooLarge.
func ReadFile(path string, limit int64) (content []byte, mode fs.FileMode, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, 0, err
	case !info.Mode().IsRegular():
		return nil, 0, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	}
	content, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = &fs.PathError{Op: "read", Path: path, Err: ErrTooLarge}
	}
	return content, info.Mode(), err
}

// AdminKeys returns the admin keys that c has in plain text: those of the config, of its key files, and the generated
// one, which may be of another time. Files that cannot be read are left out.
func (c Config) AdminKeys() (keys []string) {
	files := make([]string, 0, len(c.Keys)+1)
	for _, k := range c.Keys {
		switch {
		case k.Admin && visible(k.Key):
			keys = append(keys, k.Key)
		case k.Admin && k.KeyFile != "":
			files = append(files, k.KeyFile)
		}
	}
	for _, file := range append(files, c.AdminKeyFile) {
		if key, err := readKeyFile(file); err == nil && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// CheckFiles reads the key files as New does, and returns all faults joined. It makes and changes none.
func (c Config) CheckFiles() error {
	var faults []error
	if c.Enabled {
		readKeyFiles(c.Keys, func(path, message string) {
			faults = append(faults, fmt.Errorf("auth: %s: %s", path, message))
		})
	}
	check := func(used bool, name, file string) {
		if _, err := heldKey(file); used && err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, generatedFault(name, err))
		}
	}
	check(c.GeneratesAdminKey(), "admin", c.AdminKeyFile)
	check(c.GeneratesClientKey(), "client", c.ClientKeyFile)
	return errors.Join(faults...)
}

// generatedFault tells of a generated key that cannot be had.
func generatedFault(name string, err error) error {
	return fmt.Errorf(`auth: generated %s key: %w; a "key" of that kind in auth.keys makes the file unnecessary`, name, err)
}

// plainAdmin reports whether c is an admin key in plain text, which the command
// line can use as well.
func (c KeyConfig) plainAdmin() bool {
	return c.Admin && (c.Key != "" || c.KeyFile != "")
}

// addGenerated adds the generated key that file holds, for name or one like it. If there is no such file, it
// makes the key and the file, or adds nothing if it must not create.
func (k *Keys) addGenerated(name, file string, admin, create bool, prev *Keys) (g generated, err error) {
	g.file = file
	g.key, err = readGenerated(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return generated{}, nil
		}
		g.key, g.fresh, err = createGenerated(file)
	}
	if err != nil {
		return generated{}, generatedFault(name, err)
	}
	if same := k.find(g.key); same != nil {
		return generated{}, fmt.Errorf(`auth: key %q is the key of %s; give it a key of its own, or delete the file`, same.Name, file)
	}
	for slices.Contains(k.Names(), name) {
		name += "-file"
	}
	g.name = name
	k.keys = append(k.keys, newKey(KeyConfig{Name: name, Key: g.key, Admin: admin}, prev.named(name)))
	return g, nil
}

// readGenerated returns the key in file, and takes the file from everyone but its
// owner. The error is fs.ErrNotExist if there is no file.
func readGenerated(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(file, 0o600); err != nil {
			return "", fmt.Errorf("others can read it: %w; give it the mode 0600", err)
		}
	}
	return heldKey(file)
}

// heldKey returns the generated key in file. The error is fs.ErrNotExist if there is no file.
func heldKey(file string) (string, error) {
	key, err := readTrimmed(file)
	if reason := (*fs.PathError)(nil); errors.As(err, &reason) {
		return "", fmt.Errorf("%w; let this user read it", err)
	}
	if err != nil || !isGenerated(key) {
		return "", fmt.Errorf("%s does not hold it (%s and %d letters or digits); delete the file, and a new key is made", file, generatedPrefix, generatedLen)
	}
	return key, nil
}

// createGenerated makes a key and file, in its folder, for the owner alone. The
// file appears with the key in it or not at all: a crash leaves no empty one. Of
// two processes at once the second takes the key of the first, and only to the
// first is it fresh.
func createGenerated(file string) (key string, fresh bool, err error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", false, err
	}
	draft, err := os.CreateTemp(dir, ".generated-*.key") // O_EXCL, 0600
	if err != nil {
		return "", false, err
	}
	defer os.Remove(draft.Name())

	key = Generate()
	_, err = draft.WriteString(key + "\n")
	if err = errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return "", false, err
	}
	err = os.Link(draft.Name(), file) // unlike a rename, never replaces a file
	if errors.Is(err, fs.ErrExist) {
		key, err = readGenerated(file)
		return key, false, err
	}
	return key, err == nil, err
}
