package logs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/endpoint/logs"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/logfile"
	"github.com/chaperone-im/chaperone/internal/policy"
)

const hash = "a2cc7987b5e22e97d3e74101210d0112ea557187fc29f5bdc6b7b18cc45cac92"

func now() time.Time { return time.Date(2026, 11, 25, 23, 30, 0, 0, time.UTC) }

func line(t testing.TB, format, text string) (*logs.Entry, error) {
	t.Helper()
	p, err := logs.Parser(format, now)
	if err != nil {
		t.Fatal(err)
	}
	return p.Line([]byte(text))
}

// fapolicydLines were written by fapolicyd 1.1.7 (Debian 12); the heads of syslog stand before two of them.
var fapolicydLines = []struct {
	text string
	want logs.Entry
}{
	{"rule=1 dec=deny_syslog perm=execute uid=0 auid=-1 pid=23146 exe=/usr/bin/dash : path=/srv/files/holiday.jpg ftype=application/x-executable trust=0 sha256hash=" + hash,
		logs.Entry{Time: now(), User: "0", Path: "/srv/files/holiday.jpg", SHA256: hash, Rule: "sha256hash=" + hash + " path=/srv/files/holiday.jpg", Said: "rule=1 dec=deny_syslog perm=execute"}},
	{"Nov 25 22:30:01 laptop-17 fapolicyd[812]: rule=2 dec=deny_syslog perm=execute auid=1000 pid=23148 exe=/usr/bin/dash : path=/media/a b=c : d ftype=application/x-executable trust=0",
		logs.Entry{Time: time.Date(2026, 11, 25, 22, 30, 1, 0, time.UTC), Host: "laptop-17", User: "1000", Path: "/media/a b=c : d", Rule: "path=/media/a b=c : d", Said: "rule=2 dec=deny_syslog perm=execute"}},
	{"<85>1 2026-11-25T22:30:02.5+01:00 laptop-18 fapolicyd 812 - - rule=3 dec=deny_audit perm=execute auid=-1 pid=7 exe=/usr/bin/dash : path=/usr/bin/telegram-desktop ftype=? trust=0",
		logs.Entry{Time: time.Date(2026, 11, 25, 21, 30, 2, 5e8, time.UTC), Host: "laptop-18", Path: "/usr/bin/telegram-desktop", Rule: "path=/usr/bin/telegram-desktop", Said: "rule=3 dec=deny_audit perm=execute"}},
}

func TestFapolicyd(t *testing.T) {
	for _, c := range fapolicydLines {
		c.want.Enforcer = logs.Fapolicyd
		e, err := line(t, logs.Fapolicyd, c.text)
		if err != nil || e == nil || *e != c.want {
			t.Errorf("%s\n%+v, %v\n%+v", c.text, e, err, c.want)
		}
	}
	for _, none := range []string{"", "Starting to listen for events", "rule=4 dec=allow perm=execute auid=-1 pid=1 exe=/bin/sh : path=/bin/true ftype=x trust=1"} {
		if e, err := line(t, logs.Fapolicyd, none); e != nil || err != nil {
			t.Errorf("%q: %+v, %v", none, e, err)
		}
	}
	// The name of a file is no field of the line.
	e, err := line(t, logs.Fapolicyd, "rule=1 dec=deny_syslog perm=execute uid=7 auid=-1 pid=1 exe=/bin/sh : path=/tmp/x ftype=y trust=1 sha256hash="+strings.Repeat("0", 64)+" ftype=application/x-executable trust=0 sha256hash="+hash)
	if err != nil || e.SHA256 != hash || !strings.HasPrefix(e.Path, "/tmp/x ftype=y") {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestSanta(t *testing.T) {
	head := "[2026-11-25T21:00:00.123Z] I santad: action=EXEC|decision=DENY|reason="
	tail := "|explain=x|sha256=" + hash + "|cert_cn=Developer ID Application: Telegram|teamid=6N38VWS5BX|pid=5|uid=501|user=alice|mode=M|path=/Users/alice/a<pipe>b|args=b|machineid=MAC-7"
	for reason, rule := range map[string]string{"BINARY": "BINARY:" + hash, "TEAMID": "TEAMID:6N38VWS5BX", "SIGNINGID": "SIGNINGID:6N38VWS5BX", "UNKNOWN": ""} {
		e, err := line(t, logs.Santa, head+reason+tail)
		if err != nil || e.Rule != rule || e.Host != "MAC-7" || e.User != "alice" || e.Path != "/Users/alice/a|b" || e.SHA256 != hash || !e.Time.Equal(time.Date(2026, 11, 25, 21, 0, 0, 123e6, time.UTC)) {
			t.Errorf("%s: %+v, %v", reason, e, err)
		}
	}
	e, err := line(t, logs.Santa, "Nov 25 21:00:01 mac-8 santad[99]: I santad: action=EXEC|decision=DENY|reason=SIGNINGID|sha256="+hash+"|signingid=6N38VWS5BX:ru.keepcoder.Telegram|user=bob|path=/Applications/T")
	if err != nil || e.Host != "mac-8" || e.Rule != "SIGNINGID:6N38VWS5BX:ru.keepcoder.Telegram" || e.Bundle != "ru.keepcoder.Telegram" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, none := range []string{"[2026-11-25T21:00:00Z] I santad: action=WRITE|path=/x", "[2026-11-25T21:00:00Z] I santad: action=EXEC|decision=ALLOW|reason=BINARY|path=/x"} {
		if e, err := line(t, logs.Santa, none); e != nil || err != nil {
			t.Errorf("%q: %+v, %v", none, e, err)
		}
	}
}

// appLocker is event 8004 in the form of wevtutil, its elements as "Using Event Viewer with AppLocker" names them.
const appLocker = `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-AppLocker' Guid='{cbda4dbf-8d5d-4f69-9578-be14aa540d22}'/><EventID>8004</EventID><TimeCreated SystemTime='2026-11-25T21:00:00.1234567Z'/><Channel>Microsoft-Windows-AppLocker/EXE and DLL</Channel><Computer>PC-7.example.org</Computer><Security UserID='S-1-5-18'/></System><UserData><RuleAndFileData xmlns='http://schemas.microsoft.com/schemas/event/Microsoft.Windows/1.0.0.0'><PolicyNameLength>3</PolicyNameLength><PolicyName>EXE</PolicyName><RuleId>{5C9AC4F2-9F8B-5C4E-8A7B-0E0C41F3A001}</RuleId><RuleNameLength>9</RuleNameLength><RuleName>Chaperone: telegram</RuleName><TargetUser>S-1-5-21-1-2-3-1001</TargetUser><TargetProcessId>4711</TargetProcessId><FilePath>%OSDRIVE%\USERS\ALICE\HOLIDAY.EXE</FilePath><FileHash>00AA</FileHash><Fqbn>O=TELEGRAM FZ-LLC, L=DUBAI, C=AE\TELEGRAM DESKTOP\TELEGRAM.EXE\5.1.7.00</Fqbn><FullFilePath>C:\Users\alice\holiday.exe</FullFilePath></RuleAndFileData></UserData></Event>`

// appControl is event 3076 in the same form.
const appControl = `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-CodeIntegrity'/><EventID>3076</EventID><TimeCreated SystemTime='2026-11-25T21:00:00Z'/><Channel>Microsoft-Windows-CodeIntegrity/Operational</Channel><Computer>PC-8</Computer><Security UserID='S-1-5-21-1-2-3-1002'/></System><EventData><Data Name='File Name'>\Device\HarddiskVolume3\Users\bob\t.exe</Data><Data Name='SHA256 Hash'>11</Data><Data Name='SHA256 Flat Hash'>` + "A2CC7987B5E22E97D3E74101210D0112EA557187FC29F5BDC6B7B18CC45CAC92" + `</Data><Data Name='PolicyName'>Chaperone</Data><Data Name='ProductName'>Telegram Desktop</Data><Data Name='FileVersion'>5.1.7.0</Data><Data Name='PolicyGUID'>{a244370e-44c9-4c06-b551-f6016e563076}</Data></EventData></Event>`

func TestWindows(t *testing.T) {
	beat, err := json.Marshal(map[string]any{"@timestamp": "2026-11-25T21:00:00.123Z", "agent": map[string]any{"hostname": "collector"}, "winlog": map[string]any{"event_id": "8003", "computer_name": "PC-9", "channel": "Microsoft-Windows-AppLocker/EXE and DLL",
		"user_data": map[string]any{"RuleId": "{00000000-0000-0000-0000-000000000000}", "RuleName": "-", "TargetUser": "S-1-5-21-9", "FullFilePath": `C:\t.exe`, "Fqbn": "-"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want logs.Entry
	}{
		"wevtutil": {appLocker, logs.Entry{Enforcer: logs.AppLocker, Time: time.Date(2026, 11, 25, 21, 0, 0, 123456700, time.UTC), Host: "PC-7.example.org", User: "S-1-5-21-1-2-3-1001", Path: `C:\Users\alice\holiday.exe`,
			Publisher: "O=TELEGRAM FZ-LLC, L=DUBAI, C=AE", Product: "TELEGRAM DESKTOP", Version: "5.1.7.00", Rule: "5c9ac4f2-9f8b-5c4e-8a7b-0e0c41f3a001", Said: "event 8004, rule Chaperone: telegram"}},
		"behind syslog": {"<13>Nov 25 21:00:01 collector wec[1]: " + appControl, logs.Entry{Enforcer: logs.AppControl, Watched: true, Time: time.Date(2026, 11, 25, 21, 0, 0, 0, time.UTC), Host: "PC-8", User: "S-1-5-21-1-2-3-1002",
			Path: `\Device\HarddiskVolume3\Users\bob\t.exe`, SHA256: hash, Product: "Telegram Desktop", Version: "5.1.7.0", Rule: "{A244370E-44C9-4C06-B551-F6016E563076}:TELEGRAM DESKTOP", Said: "event 3076, policy Chaperone"}},
		"RFC 5424": {"<13>1 2026-11-25T22:00:01.5+01:00 collector wec 812 - - \ufeff" + appControl, logs.Entry{Enforcer: logs.AppControl, Watched: true, Time: time.Date(2026, 11, 25, 21, 0, 0, 0, time.UTC), Host: "PC-8", User: "S-1-5-21-1-2-3-1002",
			Path: `\Device\HarddiskVolume3\Users\bob\t.exe`, SHA256: hash, Product: "Telegram Desktop", Version: "5.1.7.0", Rule: "{A244370E-44C9-4C06-B551-F6016E563076}:TELEGRAM DESKTOP", Said: "event 3076, policy Chaperone"}},
		"JSON behind structured data": {`<11>1 2026-11-25T21:00:00.25Z PC-11 Microsoft-Windows-CodeIntegrity 4 3077 [NXLOG@14506 ProviderGuid="{4ee76bd8}" Note="a \"]{ b"][x@1 y="]"] {"EventID":3077,"SourceName":"Microsoft-Windows-CodeIntegrity","File Name":"C:\\x.exe","ProductName":"X","PolicyID":"{1}"}`,
			logs.Entry{Enforcer: logs.AppControl, Time: time.Date(2026, 11, 25, 21, 0, 0, 25e7, time.UTC), Host: "PC-11", Path: `C:\x.exe`, Product: "X", Rule: "{1}:X", Said: "event 3077"}},
		"winlogbeat": {string(beat), logs.Entry{Enforcer: logs.AppLocker, Watched: true, Time: time.Date(2026, 11, 25, 21, 0, 0, 123e6, time.UTC), Host: "PC-9", User: "S-1-5-21-9", Path: `C:\t.exe`, Said: "event 8003"}},
		"nxlog": {`{"EventTime":"2026-11-25 21:00:00","Hostname":"PC-10","EventID":3077,"SourceName":"Microsoft-Windows-CodeIntegrity","File Name":"C:\\x.exe","ProductName":"X","PolicyID":"{1}"}`,
			logs.Entry{Enforcer: logs.AppControl, Time: time.Date(2026, 11, 25, 21, 0, 0, 0, time.UTC), Host: "PC-10", Path: `C:\x.exe`, Product: "X", Rule: "{1}:X", Said: "event 3077"}},
	} {
		e, err := line(t, "windows", c.text)
		if err != nil || e == nil || *e != c.want {
			t.Errorf("%s:\n%+v, %v\n%+v", name, e, err, c.want)
		}
	}
	for _, none := range []string{"", `<?xml version="1.0"?>`, strings.Replace(appLocker, "8004", "8002", 1), strings.Replace(appLocker, "Microsoft-Windows-AppLocker/EXE and DLL", "Microsoft-Windows-CodeIntegrity/Operational", 1)} {
		if e, err := line(t, "windows", none); e != nil || err != nil {
			t.Errorf("%.60q: %+v, %v", none, e, err)
		}
	}
	for _, bad := range []string{"words", "{", appLocker[:400], `{"EventID":8004}`, strings.Replace(appLocker, "2026-11", "1026-11", 1), "<Event>" + strings.Repeat("<a>", 20), strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20)} {
		if e, err := line(t, "windows", bad); err == nil {
			t.Errorf("%.60q: %+v", bad, e)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if _, err := logs.Parser("evtx", now); err == nil || !strings.Contains(err.Error(), "fapolicyd, santa, windows") {
		t.Error(err)
	}
	if _, err := logs.NewFollower("x", "evtx", t.TempDir(), now, nil); err == nil {
		t.Error("no such format")
	}
}

func judged(t *testing.T) *logs.Judge {
	t.Helper()
	set, err := rules.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return logs.NewJudge(logs.Options{Connector: "log-x", Now: now, Rules: func() (*catalog.Catalog, policy.Decider) { return set.Catalog, set.Policy },
		Host: func(name string, _ time.Time) event.Host { return event.Host{Name: name, Person: "person of " + name} }, Owner: func(u string) string { return "user " + u }})
}

// TestJudge: a block is an event of a program, judged by our policy, with its source and no more than medium confidence.
func TestJudge(t *testing.T) {
	e, err := line(t, "windows", appLocker)
	if err != nil {
		t.Fatal(err)
	}
	j := judged(t)
	got := j.Judge(e, "1")
	if got.Kind != event.ProgramRun || got.Program.App != "telegram" || got.Program.Confidence > event.Medium || got.Host.Person != "person of PC-7.example.org" || got.From.Handle != "user "+e.User ||
		got.Verdict.Action != event.Block || !got.Verdict.Enforced || got.Evidence[0] != (event.Evidence{Fact: "enforcer:applocker", Value: e.Rule, Strength: event.Medium, Source: "from a log of applocker"}) ||
		got.Source != event.SourceCapture || !strings.Contains(got.Explanation, "applocker stopped it: event 8004") {
		t.Errorf("%+v", got)
	}
	if again := j.Judge(e, "1"); again == nil {
		t.Error("what could not be recorded is lost")
	}
	for i := range 3 {
		if j.Judge(e, fmt.Sprint("again ", i)) != nil {
			t.Error("the same within a minute is told again")
		}
	}
	later := *e
	later.Time, later.Watched = e.Time.Add(2*time.Minute), true
	got = j.Judge(&later, "2")
	if got == nil || !strings.Contains(got.Explanation, "would have stopped it") || !strings.Contains(got.Explanation, "3 more times") || got.Verdict.Enforced {
		t.Errorf("%+v", got)
	}
	if got := j.Judge(&logs.Entry{Enforcer: logs.Fapolicyd, Time: now(), Path: "/usr/bin/nobody-knows"}, "3"); got.Program.App != "" || got.Verdict.Action != event.Block || !got.Verdict.Enforced || got.Verdict.Rule != logs.EnforcerRule || got.Verdict.Reason != "denied by fapolicyd" {
		t.Errorf("%+v", got)
	}
}

// TestFollower: a log that grows is taken up where it was left, over a restart.
func TestFollower(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "fapolicyd.log")
	var taken []string
	lost := 0
	step := func(lines string) {
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, lines)
		f.Close()
		x, err := logs.NewFollower(log, logs.Fapolicyd, filepath.Join(dir, "state"), now, func(_ context.Context, b logs.Batch) error {
			for _, i := range b.Items {
				taken = append(taken, i.Entry.Path)
			}
			lost += b.Trouble.Lines
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if _, err := x.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	step(fapolicydLines[0].text + "\nrule=1 dec=deny_audit broken\n")
	step(fapolicydLines[1].text + "\n" + fapolicydLines[2].text[:40])
	step(fapolicydLines[2].text[40:] + "\n")
	if want := []string{fapolicydLines[0].want.Path, fapolicydLines[1].want.Path, fapolicydLines[2].want.Path}; strings.Join(taken, "|") != strings.Join(want, "|") || lost != 1 {
		t.Errorf("%q, %d lines lost", taken, lost)
	}
}

func FuzzLine(f *testing.F) {
	for _, c := range fapolicydLines {
		f.Add(0, c.text)
	}
	f.Add(1, "[2026-11-25T21:00:00.123Z] I santad: action=EXEC|decision=DENY|reason=TEAMID|sha256="+hash+"|teamid=A|path=/x")
	f.Add(2, appLocker)
	f.Add(2, appControl)
	f.Add(2, `<11>1 2026-11-25T21:00:00.25Z PC-11 x 4 3077 [a b="\"]{"][c] {"EventID":3077,"File Name":"x"}`)
	f.Add(2, `{"EventTime":"2026-11-25 21:00:00","EventID":3077,"File Name":"x"}`)
	f.Fuzz(func(t *testing.T, n int, text string) {
		formats := logs.Formats()
		e, err := line(t, formats[uint(n)%uint(len(formats))], text)
		if err != nil || e == nil {
			return
		}
		if e.Enforcer == "" || e.Time.IsZero() || e.Path+e.SHA256 == "" || len(e.Path) > 1024 || len(e.Rule) > 1024 {
			t.Errorf("%+v", e)
		}
	})
}

// TestLongLine: a line of as many words as fit into one is read without copying what was read before for each of them.
func TestLongLine(t *testing.T) {
	text := "rule=1 dec=deny_audit perm=execute auid=1 pid=1 exe=/usr/bin/bash" + strings.Repeat(" x", logfile.MaxLine/2-50) + " : path=/x"
	if n := testing.AllocsPerRun(1, func() {
		if e, err := line(t, logs.Fapolicyd, text); err != nil || e == nil || e.Path != "/x" {
			t.Errorf("%v, %v", e, err)
		}
	}); n > 1000 {
		t.Errorf("%.0f allocations", n)
	}
}
