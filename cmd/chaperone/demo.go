//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
)

// demoCmd starts the demonstration, a program of its own: what runs in production carries neither its clients nor its adversary.
type demoCmd struct {
	Once bool   `name:"once" help:"Exit with a status instead of staying up."`
	Dir  string `name:"dir" default:"demo-data" type:"path" help:"Throw-away folder."`
}

// Run becomes the other program.
func (c *demoCmd) Run(*command.Env) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program := filepath.Join(filepath.Dir(self), "chaperone-demo")
	if !command.FileExists(program) {
		return hint.New(fmt.Errorf("%s is not there", program), "make demo builds and plays it")
	}
	args := []string{program, "-dir", c.Dir, "-chaperone", self}
	if c.Once {
		args = append(args, "-once")
	}
	return syscall.Exec(program, args, os.Environ())
}
