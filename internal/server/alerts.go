package server

import (
	"time"

	"github.com/chaperone-im/chaperone/internal/alert"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/seal"
)

const (
	alertEvery     = 15 * time.Minute
	alertHeartbeat = 24 * time.Hour
)

// alerts builds the desk that alerts go out by. The recorder that the planes use raises them once they are durable.
func (s *Server) alerts() (event.Recorder, error) {
	c := s.cfg.Alerts
	var channels []alert.Channel
	add := func(ch alert.Channel, err error) error {
		if err == nil {
			channels = append(channels, ch)
		}
		return err
	}
	for _, address := range c.Webhooks {
		if err := add(alert.Webhook(address)); err != nil {
			return nil, err
		}
	}
	for _, spec := range c.Syslog {
		if err := add(alert.Syslog(spec)); err != nil {
			return nil, err
		}
	}
	if c.Mail != nil {
		m, err := mailConfig(s.cfg)
		if err != nil {
			return nil, err
		}
		if err := add(alert.Mail(m)); err != nil {
			return nil, err
		}
	}
	if len(channels) == 0 {
		return s.store.Recorder, nil
	}
	every, heartbeat := c.Every, c.Heartbeat
	if every <= 0 {
		every = alertEvery
	}
	if heartbeat == 0 {
		heartbeat = alertHeartbeat
	}
	desk := alert.NewDesk(channels, every, heartbeat, s.store.Clock, s.board, s.log)
	desk.Watch(s.board)
	s.add(part{name: "alerts", after: true, run: desk.Run})
	return desk.Recorder(s.store.Recorder), nil
}

// mailConfig reads the password from where the configuration says.
func mailConfig(c *config.Config) (alert.MailConfig, error) {
	m := c.Alerts.Mail
	out := alert.MailConfig{Server: m.Server, From: m.From, To: m.To, User: m.User}
	var err error
	if m.Password != "" {
		out.Password, err = seal.Passphrase(m.Password, c.Dir)
	}
	return out, err
}
