package server

import "proxycast/server/autostart"

// Unit describes to a service manager what it is to start.
type Unit = autostart.Unit

// Notify tells systemd the state of the gateway, as in READY=1 (sd_notify(3)). It does
// nothing where systemd did not start it.
func Notify(state string) error { return autostart.Notify(state) }
