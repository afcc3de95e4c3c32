//go:build unix

package server

import (
	"os"
	"syscall"
)

// keepOwner gives the owner of the file at path, if there is one, to the file that is to take its place. Only root
// can, and only root needs to.
func keepOwner(file *os.File, path string) {
	if info, err := os.Stat(path); err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			file.Chown(int(owner.Uid), int(owner.Gid))
		}
	}
}
