package policy

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Client says how the client of an approved messenger is to be set.
type Client struct {
	Tenants      List   `yaml:"tenants" doc:"Whose accounts may sign in: tenant ids for teams, the id of the workspace or organisation for slack, the domain of the addresses for zoom."`
	Servers      List   `yaml:"servers" doc:"Where they may sign in: addresses (https://…) for mattermost; for zoom the name of the firm below zoom.us (firm.zoom.us); for skype_for_business the host name of the server, and behind it that for people outside."`
	FileTransfer string `yaml:"file_transfer" doc:"allow (default) or block."`
}

// Bounds on what a client is set to.
const (
	maxClientList  = 100
	maxClientValue = 250
)

// clients checks the settings of clients. What they are set to ends in formats of others: nothing in it may have a meaning there.
func (c *compiler) clients() {
	for _, app := range sortedKeys(c.f.Clients) {
		client := c.f.Clients[app]
		if c.known.Apps != nil && !slices.Contains(c.known.Apps, app) {
			c.fail(fmt.Sprintf("unknown app %q", app), didYouMean(app, c.known.Apps), "clients", app)
		}
		if len(client.Tenants)+len(client.Servers) == 0 && client.FileTransfer == "" {
			c.fail(fmt.Sprintf("the client of %s is set to nothing", app), "give it tenants, servers or file_transfer", "clients", app)
		}
		if !slices.Contains([]string{"", "allow", "block"}, client.FileTransfer) {
			c.fail(fmt.Sprintf("file_transfer cannot be %q", client.FileTransfer), "allow or block", "clients", app, "file_transfer")
		}
		c.clientList(client.Tenants, plainWord, "is no tenant", "an id or a domain, without spaces and commas", "clients", app, "tenants")
		c.clientList(client.Servers, serverName, "is no server", "a host name, or an address such as https://chat.example.org", "clients", app, "servers")
	}
}

func (c *compiler) clientList(list List, good func(string) bool, problem, hint string, path ...any) {
	if len(list) > maxClientList {
		c.fail(fmt.Sprintf("more than %d", maxClientList), "", path...)
		return
	}
	for _, value := range list {
		if !good(value) {
			c.fail(fmt.Sprintf("%q %s", value, problem), hint, path...)
		}
	}
}

// plainWord tells whether a value is letters, digits, dots, hyphens and underscores alone.
func plainWord(s string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return s != "" && len(s) <= maxClientValue && strings.Trim(s, plain) == ""
}

// serverName tells whether a value is a host name, or the address of a server on the web.
func serverName(s string) bool {
	if plainWord(s) {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxClientValue && u.Scheme == "https" && plainWord(u.Hostname()) && u.User == nil && u.RawQuery == "" && u.Fragment == "" &&
		(u.Path == "" || plainWord(strings.ReplaceAll(u.Path, "/", ".")))
}
