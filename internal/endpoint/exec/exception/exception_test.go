package exception_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/exception"
)

var (
	secret = []byte("0123456789abcdef0123")
	sum    = strings.Repeat("ab", 32)
	now    = time.Date(2026, 11, 25, 20, 10, 0, 0, time.UTC)
)

func code(t *testing.T, host, sum string, until time.Time) string {
	t.Helper()
	c, err := exception.NewCode(secret, host, sum, until)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCodeIsForOneProgramOnOneMachine takes a code as people write it, and nothing else.
func TestCodeIsForOneProgramOnOneMachine(t *testing.T) {
	c := code(t, "laptop-17", sum, now.Add(24*time.Hour))
	other := strings.Repeat("cd", 32)
	changed := []byte(c)
	changed[len(changed)-1] ^= 1
	for _, test := range []struct {
		name, host, sum, code string
		secret                []byte
		at                    time.Time
		err                   error
	}{
		{"as it is", "laptop-17", sum, c, secret, now, nil},
		{"another case of the name", "Laptop-17", sum, c, secret, now, nil},
		{"spoken", "laptop-17", sum, strings.ToLower(strings.ReplaceAll(c, "-", " ")), secret, now, nil},
		{"look-alikes", "laptop-17", sum, strings.NewReplacer("0", "O", "1", "l").Replace(c), secret, now, nil},
		{"another machine", "laptop-18", sum, c, secret, now, exception.ErrCode},
		{"another program", "laptop-17", other, c, secret, now, exception.ErrCode},
		{"another secret", "laptop-17", sum, c, []byte("another secret of the same kind"), now, exception.ErrCode},
		{"changed", "laptop-17", sum, string(changed), secret, now, exception.ErrCode},
		{"longer", "laptop-17", sum, c + "0", secret, now, exception.ErrCode},
		{"nothing", "laptop-17", sum, "", secret, now, exception.ErrCode},
		{"later", "laptop-17", sum, c, secret, now.Add(25 * time.Hour), exception.ErrExpired},
		{"for ever", "laptop-17", sum, code(t, "laptop-17", sum, now.Add(2*exception.MaxTime)), secret, now, exception.ErrExpired},
	} {
		until, err := exception.Verify(test.secret, test.host, test.sum, test.code, test.at)
		if !errors.Is(err, test.err) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err == nil && (until.Before(now.Add(24*time.Hour)) || until.After(now.Add(25*time.Hour))) {
			t.Errorf("%s: until %s", test.name, until)
		}
	}
	if _, err := exception.NewCode([]byte("short"), "h", sum, now); err == nil {
		t.Error("a short secret was taken")
	}
	if _, err := exception.NewCode(secret, "h", "ab", now); err == nil {
		t.Error("half a hash was taken")
	}
}

// TestStore takes a code once, keeps the exception over a restart, and until its time only.
func TestStore(t *testing.T) {
	dir := t.TempDir()
	s := exception.Open(dir, "h", secret)
	if s.Approved(sum, now) {
		t.Error("approved from the start")
	}
	c := code(t, "h", sum, now.Add(time.Hour))
	until, err := s.Redeem(sum, c, "alice", now, kept)
	if err != nil || !s.Approved(sum, now) || s.Approved(sum, until) {
		t.Fatal(err, until)
	}
	if s = exception.Open(dir, "h", secret); s.Damage() != nil || !s.Approved(sum, now) || len(s.List(now)) != 1 || len(s.List(until)) != 0 {
		t.Fatal(s.Damage())
	}
	if _, err := s.Redeem(sum, strings.ToLower(c), "bob", now, kept); !errors.Is(err, exception.ErrUsed) {
		t.Errorf("a code was taken twice: %v", err)
	}
}

func TestGuessing(t *testing.T) {
	s := exception.Open(t.TempDir(), "h", secret)
	for range 5 {
		if _, err := s.Redeem(sum, "000000-000000-000000-000000", "mallory", now, kept); !errors.Is(err, exception.ErrCode) {
			t.Fatal(err)
		}
	}
	good := code(t, "h", sum, now.Add(time.Hour))
	if _, err := s.Redeem(sum, good, "mallory", now, kept); !errors.Is(err, exception.ErrOften) {
		t.Error(err)
	}
	if _, err := s.Redeem(sum, good, "mallory", now.Add(59*time.Second), kept); !errors.Is(err, exception.ErrOften) {
		t.Error(err)
	}
	if _, err := s.Redeem(sum, good, "alice", now, kept); err != nil { // whom mallory's guesses do not concern
		t.Error(err)
	}
	s = exception.Open(t.TempDir(), "h", nil)
	if _, err := s.Redeem(sum, good, "alice", now, kept); !errors.Is(err, exception.ErrNone) {
		t.Errorf("a code without a secret: %v", err)
	}
}

// TestWithdrawn ends an exception before its time, over a restart too, takes its code no more, and does nothing that is not on record.
func TestWithdrawn(t *testing.T) {
	dir := t.TempDir()
	s := exception.Open(dir, "h", secret)
	other := strings.Repeat("c", 64)
	first, second := code(t, "h", sum, now.Add(time.Hour)), code(t, "h", sum, now.Add(2*time.Hour))
	for c, program := range map[string]string{first: sum, second: sum, code(t, "h", other, now.Add(time.Hour)): other} {
		if _, err := s.Redeem(program, c, "alice", now, kept); err != nil {
			t.Fatal(err)
		}
	}
	full := errors.New("no space left")
	if _, err := s.Withdraw(sum, now, func() error { return full }); !errors.Is(err, full) || !s.Approved(sum, now) {
		t.Fatalf("withdrawn without a record: %v", err)
	}
	if n, err := s.Withdraw(sum, now, func() error { return nil }); err != nil || n != 2 || s.Approved(sum, now) || !s.Approved(other, now) {
		t.Fatal(n, err)
	}
	s = exception.Open(dir, "h", secret)
	if s.Approved(sum, now) || !s.Approved(other, now) || len(s.List(now)) != 1 {
		t.Error("withdrawn until the next start only")
	}
	if _, err := s.Redeem(sum, second, "alice", now.Add(90*time.Minute), kept); !errors.Is(err, exception.ErrUsed) {
		t.Errorf("the code of what was withdrawn: %v", err)
	}
	if _, err := s.Withdraw(sum, now, func() error { return nil }); !errors.Is(err, exception.ErrUnknown) {
		t.Errorf("withdrawn twice: %v", err)
	}
}

// kept is a record that takes everything.
func kept(time.Time) error { return nil }

// TestNotOnRecord approves nothing that could not be put on record, and takes the code again later.
func TestNotOnRecord(t *testing.T) {
	s := exception.Open(t.TempDir(), "h", secret)
	c, full := code(t, "h", sum, now.Add(time.Hour)), errors.New("no space left")
	if _, err := s.Redeem(sum, c, "alice", now, func(time.Time) error { return full }); !errors.Is(err, full) || s.Approved(sum, now) {
		t.Fatalf("approved without a record: %v", err)
	}
	if _, err := s.Redeem(sum, c, "alice", now, kept); err != nil || !s.Approved(sum, now) {
		t.Fatal(err)
	}
}

// TestDamaged goes on without what a damaged file approved, sets it aside, says so, and takes new codes.
func TestDamaged(t *testing.T) {
	for name, text := range map[string]string{"cut off": "[{", "zeros": "\x00\x00\x00", "large": strings.Repeat(" ", 5<<20)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "exceptions.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s := exception.Open(dir, "h", secret)
			if s.Damage() == nil || s.Approved(sum, now) {
				t.Fatal("nothing is said of the damage")
			}
			if b, err := os.ReadFile(path + ".damaged"); err != nil || string(b) != text {
				t.Fatal("what was there is gone", err)
			}
			if _, err := s.Redeem(sum, code(t, "h", sum, now.Add(time.Hour)), "alice", now, kept); err != nil {
				t.Fatal(err)
			}
			if s = exception.Open(dir, "h", secret); s.Damage() != nil || !s.Approved(sum, now) {
				t.Fatal(s.Damage())
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("000000-000000-000000-000000")
	f.Fuzz(func(t *testing.T, c string) {
		if _, err := exception.Verify(secret, "h", sum, c, now); err == nil {
			t.Errorf("%q was taken", c)
		}
	})
}
