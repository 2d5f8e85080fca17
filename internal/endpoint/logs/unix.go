package logs

import (
	"errors"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/logfile"
)

// fapolicyd reads what the daemon writes of a decision, to syslog or with --debug-deny: rule=, dec=, perm=, who, " : " and what, as syslog_format
// of its configuration has it (fapolicyd.conf(5)). Rules can be told apart by content only where that format has sha256hash.
func fapolicyd(line string, now time.Time) (*Entry, error) {
	head := logfile.ParseSyslog(line, now)
	at := strings.Index(head.Rest, "rule=")
	if at < 0 || !strings.Contains(head.Rest[at:], " dec=") {
		return nil, nil
	}
	who, what, ok := strings.Cut(head.Rest[at:], " : ")
	if !ok {
		return nil, errors.New("it does not tell who from what")
	}
	subject := words(who, "rule", "dec", "perm", "uid", "auid", "pid", "exe")
	if !strings.HasPrefix(subject["dec"], "deny") {
		return nil, nil
	}
	object := ending(what, "path", "ftype", "trust", "sha256hash", "filehash")
	e := &Entry{Enforcer: Fapolicyd, Time: head.Time, Host: head.Host, Path: object["path"], SHA256: sum(object["sha256hash"] + object["filehash"]),
		Said: "rule=" + subject["rule"] + " dec=" + subject["dec"] + " perm=" + subject["perm"]}
	if e.User = subject["uid"]; e.User == "" && subject["auid"] != "-1" {
		e.User = subject["auid"]
	}
	e.Rule = "path=" + e.Path
	if e.SHA256 != "" {
		e.Rule = "sha256hash=" + e.SHA256 + " " + e.Rule
	}
	return e, nil
}

// words reads key=value pairs whose keys are known and whose values go on until the next of them.
func words(text string, keys ...string) map[string]string {
	out := map[string]string{}
	last, begun := "", 0
	for at := 0; at <= len(text); {
		w, _, _ := strings.Cut(text[at:], " ")
		k, _, ok := strings.Cut(w, "=")
		if _, again := out[k]; ok && !again && contains(keys, k) {
			if last != "" {
				out[last] = text[begun : at-1]
			}
			last, begun = k, at+len(k)+1
			out[k] = ""
		}
		at += len(w) + 1
	}
	if last != "" {
		out[last] = text[begun:]
	}
	return out
}

// ending reads key=value pairs from the end, where the first value is a path that may hold anything, other pairs too.
func ending(text string, first string, others ...string) map[string]string {
	out := map[string]string{}
	for {
		at := strings.LastIndexByte(text, ' ')
		if at < 0 {
			break
		}
		k, v, ok := strings.Cut(text[at+1:], "=")
		if _, again := out[k]; !ok || again || !contains(others, k) {
			break
		}
		out[k] = v
		text = text[:at]
	}
	if v, ok := strings.CutPrefix(text, first+"="); ok {
		out[first] = v
	}
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// santa reads the file that Santa writes with EventLogType file, and the same through syslog: action=EXEC|decision=DENY|reason=…, a pipe within a
// value as <pipe>. The reason tells which kind of rule decided.
func santa(line string, now time.Time) (*Entry, error) {
	at := strings.Index(line, "action=EXEC|")
	if at < 0 {
		return nil, nil
	}
	f := map[string]string{}
	for _, pair := range strings.Split(line[at:], "|") {
		k, v, ok := strings.Cut(pair, "=")
		if _, again := f[k]; ok && !again {
			f[k] = strings.ReplaceAll(v, "<pipe>", "|")
		}
	}
	if f["decision"] != "DENY" {
		return nil, nil
	}
	e := &Entry{Enforcer: Santa, User: f["user"], Path: f["path"], SHA256: sum(f["sha256"]), Team: f["teamid"], Host: f["machineid"], Said: "decision=DENY reason=" + f["reason"]}
	if cn := f["cert_cn"]; cn != "" {
		e.Publisher = "CN=" + cn
	}
	if text, _, ok := strings.Cut(strings.TrimPrefix(line, "["), "]"); ok && strings.HasPrefix(line, "[") {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, errors.New("its time is none")
		}
		e.Time = t
	} else if head := logfile.ParseSyslog(line, now); head.Host != "" {
		e.Time, e.Host = head.Time, head.Host
	}
	signing := f["signingid"] + f["signing_id"]
	if team, bundle, ok := strings.Cut(signing, ":"); ok {
		e.Team, e.Bundle = team, bundle
	} else {
		e.Bundle = signing
	}
	switch f["reason"] {
	case "BINARY":
		e.Rule = "BINARY:" + e.SHA256
	case "TEAMID":
		e.Rule = "TEAMID:" + e.Team
	case "SIGNINGID":
		e.Rule = strings.TrimSuffix("SIGNINGID:"+e.Team+":"+e.Bundle, ":")
	}
	return e, nil
}
