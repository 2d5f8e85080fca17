package agentcmd

import (
	"encoding/json"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/agent"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/tell"
)

// teller gives notices to the process that tells people. Notices for which there is no room are dropped: what happened is on record.
type teller struct {
	notices chan tell.Notice
	done    sync.WaitGroup
}

const (
	noticeQueue = 64
	tellerPause = time.Second
)

func newTeller(self string) *teller {
	t := &teller{notices: make(chan tell.Notice, noticeQueue)}
	t.done.Go(func() { t.run(self) })
	return t
}

// Tell implements agent.Teller.
func (t *teller) Tell(s judge.Stop) {
	p := s.Event.Program
	title, text := tell.Words(p.Path, p.App, s.Event.Verdict.Say, agent.HowToAsk(s))
	select {
	case t.notices <- tell.Notice{UID: s.UID, Terminal: s.Terminal, Title: title, Text: text}:
	default:
	}
}

// run keeps a process that tells.
func (t *teller) run(self string) {
	for n := range t.notices {
		cmd := exec.Command(self, "agent", "tell")
		cmd.Args[0] = os.Args[0]
		cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			time.Sleep(tellerPause)
			continue
		}
		enc := json.NewEncoder(in)
		for enc.Encode(n) == nil {
			var more bool
			if n, more = <-t.notices; !more {
				break
			}
		}
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// close is called when nothing tells any more.
func (t *teller) close() {
	close(t.notices)
	t.done.Wait()
}
