//go:build !unix

package server

import "os"

// keepOwner does nothing where a file's owner is not the writer's to choose.
func keepOwner(*os.File, string) {}
