// ProxyCast is one address and one key for every AI provider.
package main

func main() {}
