package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
)

type accountsData struct {
	Said     string
	Accounts []account.Account
	Roles    []control.Role
	For      string // whose link it is
	Link     string // shown once
}

func (c *Console) accounts(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	return "accounts", c.accountsData(""), nil
}

func (c *Console) accountsData(said string) accountsData {
	return accountsData{Said: said, Accounts: c.Book.List(), Roles: []control.Role{control.Reviewer, control.Counsel, control.Administrator}}
}

// createAccount makes an account and its first one-time link.
func (c *Console) createAccount(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	name, role := strings.TrimSpace(r.PostFormValue("name")), control.Role(r.PostFormValue("role"))
	if !slices.Contains(c.accountsData("").Roles, role) {
		return "accounts", c.accountsData("Choose a role. Nothing was changed."), nil
	}
	if err := c.Book.CanCreate(name, []control.Role{role}); err != nil {
		return "accounts", c.accountsData("Nothing was changed: " + err.Error() + "."), nil
	}
	if err := c.act(r.Context(), s.Account, "account.create", cut(name, 64)+" "+string(role)); err != nil {
		return "", nil, err
	}
	if err := c.Book.Create(name, []control.Role{role}); err != nil {
		return "accounts", c.accountsData("Nothing was changed: " + err.Error() + "."), nil
	}
	return c.linkFor(r, s, name)
}

func (c *Console) newLink(w http.ResponseWriter, r *http.Request, s *session) (string, any, error) {
	return c.linkFor(r, s, r.PostFormValue("name"))
}

func (c *Console) linkFor(r *http.Request, s *session, name string) (string, any, error) {
	if err := c.act(r.Context(), s.Account, "account.link", cut(name, 64)); err != nil {
		return "", nil, err
	}
	token, err := c.Book.NewLink(name)
	if errors.Is(err, account.ErrUnknown) {
		return "accounts", c.accountsData("Nothing was changed: " + err.Error() + "."), nil
	}
	if err != nil {
		return "", nil, err
	}
	d := c.accountsData("")
	d.For, d.Link = name, "https://"+r.Host+"/link/"+token
	return "accounts", d, nil
}
