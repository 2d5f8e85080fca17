package sqlite

import "github.com/chaperone-im/chaperone/internal/search"

// write adds the sums to the tables.
func (t *tally) write(c *conn) error {
	for _, f := range []func(*conn) error{t.writeTalks, t.writeHandles, t.writeHosts, t.writeSightings, t.writeCounts} {
		if err := f(c); err != nil {
			return err
		}
	}
	if !t.removed {
		return nil
	}
	for _, q := range []string{"DELETE FROM handles WHERE records<=0", "DELETE FROM hosts WHERE records<=0", "DELETE FROM sightings WHERE network+endpoint<=0"} {
		if err := c.exec(q); err != nil {
			return err
		}
	}
	return nil
}

func (t *tally) writeTalks(c *conn) error {
	for n, k := range t.talks {
		err := c.exec(`UPDATE conversations SET first=min(first,?), last=max(last,?), messages=messages+?, stopped=stopped+?,
			folded=iif(room='',?,folded), room=iif(room='',?,room) WHERE number=?`,
			k.first, k.last, k.messages, k.stopped, search.Fold(k.room), k.room, n)
		if err != nil {
			return err
		}
	}
	for m := range t.members {
		if err := c.exec("INSERT OR IGNORE INTO members VALUES(?,?)", m.conversation, m.handle); err != nil {
			return err
		}
	}
	return nil
}

func (t *tally) writeHandles(c *conn) error {
	for k, h := range t.handles {
		if !h.seen {
			if err := c.exec("UPDATE handles SET records=records+? WHERE id=? AND person=?", h.records, k.id, k.person); err != nil {
				return err
			}
			continue
		}
		err := c.exec(`INSERT INTO handles VALUES(?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(id, person) DO UPDATE SET name=excluded.name, folded_name=excluded.folded_name,
			first=min(first,excluded.first), last=max(last,excluded.last), records=records+excluded.records`,
			k.id, k.person, h.connector, h.handle, h.name, search.Fold(k.person), search.Fold(h.handle), search.Fold(h.name), h.first, h.last, h.records)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tally) writeHosts(c *conn) error {
	for k, h := range t.hosts {
		if !h.seen {
			err := c.exec("UPDATE hosts SET records=records+? WHERE id=? AND name=? AND address=? AND person=?", h.records, k.ID, k.Name, k.Address, k.Person)
			if err != nil {
				return err
			}
			continue
		}
		err := c.exec(`INSERT INTO hosts VALUES(?,?,?,?,?,?,?,?,?,?) ON CONFLICT(id, name, address, person) DO UPDATE SET
			first=min(first,excluded.first), last=max(last,excluded.last), records=records+excluded.records`,
			k.ID, k.Name, k.Address, k.Person, search.Fold(k.Name), search.Fold(k.Address), search.Fold(k.Person), h.first, h.last, h.records)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tally) writeSightings(c *conn) error {
	for k, s := range t.sightings {
		if !s.seen {
			err := c.exec("UPDATE sightings SET network=network+?, endpoint=endpoint+? WHERE app=? AND host=? AND name=? AND address=? AND person=?",
				s.network, s.endpoint, k.app, k.host.ID, k.host.Name, k.host.Address, k.person)
			if err != nil {
				return err
			}
			continue
		}
		err := c.exec(`INSERT INTO sightings VALUES(?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(app, host, name, address, person) DO UPDATE SET
			network=network+excluded.network, endpoint=endpoint+excluded.endpoint, confidence=max(confidence,excluded.confidence),
			action=iif(excluded.last>=last, excluded.action, action), rule=iif(excluded.last>=last, excluded.rule, rule),
			first=min(first,excluded.first), last=max(last,excluded.last)`,
			k.app, k.host.ID, k.host.Name, k.host.Address, k.person, s.network, s.endpoint, s.first, s.last, int(s.confidence), string(s.action), s.rule)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tally) writeCounts(c *conn) error {
	for k, n := range t.days {
		err := c.exec("INSERT INTO days VALUES(?,?,?,?) ON CONFLICT(day, kind, action) DO UPDATE SET records=records+excluded.records",
			k.day, string(k.kind), string(k.action), n)
		if err != nil {
			return err
		}
	}
	for k, n := range t.captures {
		err := c.exec("INSERT INTO captures VALUES(?,?,?,?,?,?) ON CONFLICT(day, connector, room, class, reason) DO UPDATE SET records=records+excluded.records",
			k.day, k.connector, k.room, k.class, k.reason, n)
		if err != nil {
			return err
		}
	}
	return nil
}
