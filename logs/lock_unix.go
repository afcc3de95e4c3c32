//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package logs

import (
	"errors"
	"os"
	"syscall"
)

// lock takes file for this process until it is closed. It is false only if another
// one holds it; a file system that knows no locks is no obstacle.
func lock(file *os.File) bool {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return !errors.Is(err, syscall.EWOULDBLOCK)
}
