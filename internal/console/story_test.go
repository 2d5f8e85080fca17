package console_test

import (
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// noon is when the stories of these tests are told.
var noon = time.Date(2026, 11, 24, 14, 30, 0, 0, time.UTC)

func at(hour, minute, second int) time.Time {
	return time.Date(2026, 11, 24, hour, minute, second, 0, time.UTC)
}

func person(name string) event.Party {
	return event.Party{Handle: name + "@example.org", Person: name, Groups: []string{"everyone"}}
}

func laptop(name, address, who string) event.Host {
	return event.Host{Name: name, Address: address, Person: who}
}

// message is a text of somebody of the firm to others.
func message(when time.Time, from, text string, to ...event.Party) *event.Event {
	return &event.Event{ID: event.NewID(), Kind: event.Message, Time: when, Connector: "office", From: person(from), To: to, Content: event.Content{Text: text, Audience: to}}
}

func inRoom(e *event.Event, room string) *event.Event {
	e.Room, e.To = event.Room{Name: room}, nil
	return e
}

func refers(kind event.Kind, when time.Time, of *event.Event, text string) *event.Event {
	return &event.Event{ID: event.NewID(), Kind: kind, Time: when, Connector: of.Connector, Room: of.Room, From: of.From, To: of.To, Refers: of.ID, Content: event.Content{Text: text}}
}

func whatsapp(when time.Time, host event.Host) *event.Event {
	return &event.Event{Kind: event.FlowSeen, Time: when, Connector: "border", Source: event.SourceCapture, Host: host, Content: event.Content{
		Flow: &event.Flow{Proto: "tcp", Client: host.Address + ":51744", Server: "157.240.0.60:443", App: "whatsapp", Service: "chat", Name: "web.whatsapp.com",
			JA4: "t13d1516h2_8daaf6152771_02713d6af862", ALPN: "h2", Packets: 41, Bytes: 18_204, PacketsToVerdict: 4, Capture: "laptop-17.pcap", Confidence: event.High},
		Evidence: []event.Evidence{{Fact: "names.web", Value: "web.whatsapp.com", Strength: event.High, Source: "catalog whatsapp"},
			{Fact: "addresses", Value: "157.240.0.60 in 157.240.0.0/17", Strength: event.Medium, Source: "AS32934, 2026-10"}}}}
}

func installer(when time.Time, host event.Host) *event.Event {
	return &event.Event{Kind: event.FindingHit, Time: when, Connector: "agent", Source: event.SourceCapture, Host: host, Content: event.Content{
		Program: &event.Program{Path: `/home/alice/Downloads/holiday photos.zip`, Inside: "IMG_0042.exe", App: "whatsapp", Form: "installer", Format: "pe", Version: "2.2446.11.0",
			Publisher: "CN=WhatsApp LLC, O=WhatsApp LLC, L=Menlo Park, S=California, C=US", SHA256: "3f2c9d0f5a1b7e8894c1a6b0de22f3a4b5c6d7e8f90123456789abcdef012345", Size: 190_044_160, Confidence: event.Exact},
		Evidence: []event.Evidence{{Fact: "publisher", Value: "CN=WhatsApp LLC", Strength: event.Exact, Source: "Authenticode, signature not checked"}}}}
}

// tell records a day at a firm: Alice and Bob talk, Alice wants to go on elsewhere and does, others are stopped.
func (r *rig) tell() (moved *event.Event) {
	r.t.Helper()
	alice, bob := person("alice"), person("bob")
	host := laptop("laptop-17", "10.0.0.17", "alice")
	first := message(at(9, 2, 11), "alice", "Morning Bob, did the term sheet come back from legal?", bob)
	edited := message(at(9, 5, 40), "bob", "It did. 12 % on the second tranche", alice)
	gone := message(at(9, 8, 2), "bob", "Their partner is impossible to work with", alice)
	card := message(at(10, 14, 5), "bob", "Use the desk card for the dinner: 4111 1111 1111 1111", event.Party{Handle: "caterer@other.org"})
	moved = message(at(11, 20, 33), "alice", "let's move this to WhatsApp", bob)
	desk := inRoom(message(at(8, 58, 0), "carol", "Desk meeting moved to 16:00, same room", alice, bob), "desk@rooms.example.org")
	r.record(desk, first, edited,
		refers(event.Edit, at(9, 6, 12), edited, "It did. 12.5 % on the second tranche, not 12"), gone,
		refers(event.Retraction, at(9, 9, 30), gone, ""), refers(event.Reaction, at(9, 7, 1), edited, "👍"),
		&event.Event{Kind: event.Delivery, Phase: event.HandedOver, Time: at(9, 2, 11), Connector: "office", Refers: first.ID},
		card, moved, whatsapp(at(11, 24, 9), host), whatsapp(at(11, 31, 50), host), installer(at(12, 2, 0), host),
		&event.Event{Kind: event.DNSQuery, Time: at(11, 23, 58), Connector: "resolver", Host: host, Content: event.Content{
			Question: &event.Question{Name: "g.whatsapp.net.", Type: "A", App: "whatsapp", Client: "10.0.0.17"}}},
		&event.Event{Kind: event.FlowSeen, Time: at(12, 40, 0), Connector: "border", Source: event.SourceCapture, Host: laptop("laptop-22", "10.0.0.22", "bob"), Content: event.Content{
			Flow: &event.Flow{Proto: "udp", Client: "10.0.0.22:40112", Server: "149.154.167.50:443", App: "telegram", Service: "call", Packets: 9, Bytes: 2900, PacketsToVerdict: 3, Confidence: event.Medium}}},
		&event.Event{Kind: event.FileUpload, Time: at(13, 1, 0), Connector: "office", From: bob, To: []event.Party{alice}, Content: event.Content{
			Files:      []event.File{{Name: "offer.zip", Type: "application/zip", Size: 48_211, SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}},
			NotChecked: []event.NotInspected{{Inspector: "malware", Reason: event.ReasonEncrypted, File: "offer.zip", Version: "clamav 1.4"}}}},
		&event.Event{Kind: event.Gap, Time: at(7, 0, 0), Until: at(7, 12, 0), Connector: "office", Reason: event.ReasonUnavailable, Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"}},
	)
	r.board.Set("journal", health.OK, "3 frames a second", "")
	r.board.Set("gateway office", health.OK, "12 clients", "")
	r.board.Set("inspector malware", health.Degraded, "clamd does not answer at unix:/run/clamav/clamd.ctl", "Start clamav-daemon, or take malware out of inspectors. Until then files are not inspected and policy stops them.")
	return moved
}

// history records two weeks before the story, so that a trend is seen.
func (r *rig) history() {
	r.t.Helper()
	for back := 13; back > 0; back-- {
		day := at(9, 30, 0).AddDate(0, 0, -back)
		if day.Weekday() == time.Saturday || day.Weekday() == time.Sunday {
			continue
		}
		for i := range 3 + back*7%6 {
			r.record(message(day.Add(time.Duration(i)*17*time.Minute), "carol", "Good morning, the report of the day is in the folder", person("bob")))
		}
		if back%4 == 1 {
			r.record(message(day.Add(7*time.Hour), "bob", "4111 1111 1111 1111", event.Party{Handle: "caterer@other.org"}), whatsapp(day.Add(8*time.Hour), laptop("laptop-17", "10.0.0.17", "alice")))
		}
	}
}
