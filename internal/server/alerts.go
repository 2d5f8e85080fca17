package server

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/alert"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/seal"
)

const (
	alertEvery     = 15 * time.Minute
	alertHeartbeat = 24 * time.Hour
)

// alerts builds the desk that alerts go out by. The recorder that the planes use raises them once they are durable.
func (s *Server) alerts() (event.Recorder, error) {
	c := s.cfg.Alerts
	general, routes, err := channels(s.cfg)
	if err != nil {
		return nil, err
	}
	if len(general)+len(routes) == 0 {
		return s.store.Recorder, nil
	}
	every, heartbeat := c.Every, c.Heartbeat
	if every <= 0 {
		every = alertEvery
	}
	if heartbeat == 0 {
		heartbeat = alertHeartbeat
	}
	desk := alert.NewDesk(general, every, heartbeat, s.store.Clock, s.board, s.log)
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		desk.Route(name, routes[name]...)
	}
	desk.Watch(s.board)
	s.add(part{name: "alerts", after: true, run: desk.Run})
	return desk.Recorder(s.store.Recorder), nil
}

// channels makes the channels of everything, and those of each route. All that is wrong is in the error.
func channels(c *config.Config) (general []alert.Channel, routes map[string][]alert.Channel, err error) {
	a := c.Alerts
	general, err = channelsOf(c, config.Route{Mail: a.Mail, Webhooks: a.Webhooks, Syslog: a.Syslog})
	routes = map[string][]alert.Channel{}
	for _, name := range slices.Sorted(maps.Keys(a.Routes)) {
		list, wrong := channelsOf(c, a.Routes[name])
		if wrong == nil && len(list) == 0 {
			wrong = errors.New("there is no channel: give webhooks, syslog or mail")
		}
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("alerts.routes.%s: %w", name, wrong))
		}
		routes[name] = list
	}
	return general, routes, err
}

func channelsOf(c *config.Config, r config.Route) ([]alert.Channel, error) {
	var out []alert.Channel
	var errs []error
	add := func(ch alert.Channel, err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		out = append(out, ch)
	}
	for _, address := range r.Webhooks {
		add(alert.Webhook(address))
	}
	for _, spec := range r.Syslog {
		add(alert.Syslog(spec))
	}
	if r.Mail != nil {
		m, err := mailConfig(c, r.Mail)
		if err != nil {
			errs = append(errs, err)
		} else {
			add(alert.Mail(m))
		}
	}
	return out, errors.Join(errs...)
}

// checkRoutes refuses a policy with an alert that no route takes, where the configuration has routes.
func checkRoutes(c *config.Config, p *policy.Policy) error {
	if len(c.Alerts.Routes) == 0 {
		return nil // every alert goes by every channel
	}
	var errs []error
	for i, r := range p.File().Rules {
		if _, ok := c.Alerts.Routes[r.Alert]; r.Alert != "" && !ok {
			known := strings.Join(slices.Sorted(maps.Keys(c.Alerts.Routes)), ", ")
			errs = append(errs, p.File().ErrorAt(fmt.Sprintf("the configuration has no alert route %q", r.Alert), "alerts.routes has "+known, "rules", i, "alert"))
		}
	}
	return errors.Join(errs...)
}

// mailConfig reads the password from where the configuration says.
func mailConfig(c *config.Config, m *config.Mail) (alert.MailConfig, error) {
	out := alert.MailConfig{Server: m.Server, From: m.From, To: m.To, User: m.User}
	var err error
	if m.Password != "" {
		out.Password, err = seal.Passphrase(m.Password, c.Dir)
	}
	return out, err
}
