package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/seal"
)

func key(t testing.TB) *seal.PrivateKey {
	t.Helper()
	k, err := seal.GenerateCompliance()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sealer(t testing.TB, dir string, k *seal.PrivateKey) *seal.TreeSealer {
	t.Helper()
	s, err := seal.NewSealer(dir, []*seal.PublicKey{k.Public()}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opener(dir string, k *seal.PrivateKey) *seal.TreeOpener {
	return seal.NewOpener(dir, k, []*seal.PublicKey{k.Public()})
}

func TestSealAndOpen(t *testing.T) {
	dir, k := t.TempDir(), key(t)
	s := sealer(t, dir, k)
	sealed, err := s.Seal("room", []byte("secret words"), []byte("id"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("the content is readable")
	}
	got, err := opener(dir, k).Open(sealed, []byte("id"))
	if err != nil || string(got) != "secret words" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := opener(dir, k).Open(sealed, []byte("other")); err == nil {
		t.Error("it opened as another record's content")
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := opener(dir, k).Open(changed, []byte("id")); err == nil {
			t.Errorf("byte %d changed, and it opened", i)
		}
	}
	if _, err := opener(dir, key(t)).Open(sealed, []byte("id")); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("another key: %v", err)
	}
}

// TestErase destroys records in random order: at every moment exactly the others can be read, in this process and in a new one.
func TestErase(t *testing.T) {
	dir, k := t.TempDir(), key(t)
	s, o := sealer(t, dir, k), opener(dir, k)
	const n = 60
	all := make([][]byte, n)
	for i := range all {
		var err error
		if all[i], err = s.Seal("room", fmt.Appendf(nil, "record %d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	erased := map[int]bool{}
	for _, i := range rand.Perm(n) {
		if err := o.Erase(all[i]); err != nil {
			t.Fatal(err)
		}
		erased[i] = true
		for _, reader := range []*seal.TreeOpener{o, opener(dir, k)} {
			for _, j := range []int{rand.Intn(n), (i + 1) % n, (i + n - 1) % n, i} {
				got, err := reader.Open(all[j], nil)
				if erased[j] != errors.Is(err, seal.ErrErased) || !erased[j] && string(got) != fmt.Sprintf("record %d", j) {
					t.Fatalf("record %d, erased %v: %q, %v", j, erased[j], got, err)
				}
			}
		}
		if err := o.Erase(all[i]); err != nil {
			t.Fatalf("erasing again: %v", err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "roots", "*"))
	if len(files) != 1 {
		t.Errorf("%d files for one root", len(files))
	}
}

// TestEraseAll destroys every other record and all of another room in one call.
func TestEraseAll(t *testing.T) {
	dir, k := t.TempDir(), key(t)
	s, o := sealer(t, dir, k), opener(dir, k)
	var desk, hall, gone [][]byte
	for i := range 200 {
		for scope, all := range map[seal.Scope]*[][]byte{"desk": &desk, "hall": &hall} {
			sealed, err := s.Seal(scope, []byte("x"), nil)
			if err != nil {
				t.Fatal(err)
			}
			*all = append(*all, sealed)
		}
		if gone = append(gone, hall[i]); i%2 == 0 {
			gone = append(gone, desk[i])
		}
	}
	rand.Shuffle(len(gone), func(i, k int) { gone[i], gone[k] = gone[k], gone[i] })
	for range 2 {
		if err := o.EraseAll(gone...); err != nil {
			t.Fatal(err)
		}
	}
	for _, reader := range []*seal.TreeOpener{o, opener(dir, k)} {
		for i := range desk {
			if _, err := reader.Open(desk[i], nil); errors.Is(err, seal.ErrErased) != (i%2 == 0) || i%2 == 1 && err != nil {
				t.Errorf("record %d: %v", i, err)
			}
			if _, err := reader.Open(hall[i], nil); !errors.Is(err, seal.ErrErased) {
				t.Errorf("record %d of the hall: %v", i, err)
			}
		}
	}
	if sealed, err := s.Seal("desk", []byte("after"), nil); err != nil {
		t.Fatal(err)
	} else if got, err := o.Open(sealed, nil); err != nil || string(got) != "after" {
		t.Errorf("sealing goes on under that root: %q, %v", got, err)
	}
	if err := o.EraseAll(desk[1], []byte("no record")); err == nil {
		t.Error("what is no record was erased")
	} else if _, err := o.Open(desk[1], nil); err != nil {
		t.Errorf("and another one with it: %v", err)
	}
}

// TestManyScopesAtOnce: each record of many scopes sealed at once has a key of its own.
func TestManyScopesAtOnce(t *testing.T) {
	dir, k := t.TempDir(), key(t)
	s, o := sealer(t, dir, k), opener(dir, k)
	var mu sync.Mutex
	seen := map[string]bool{}
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := range 40 {
				sealed, err := s.Seal(seal.Scope(fmt.Sprint(i%5)), fmt.Append(nil, w), []byte("id"))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := o.Open(sealed, []byte("id")); err != nil || string(got) != fmt.Sprint(w) {
					t.Errorf("%q, %v", got, err)
				}
				mu.Lock()
				if place := string(sealed[:21]); seen[place] {
					t.Error("two records have one key")
				} else {
					seen[place] = true
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if files, _ := filepath.Glob(filepath.Join(dir, "roots", "*.json")); len(files) != 5 {
		t.Errorf("%d roots for 5 scopes", len(files))
	}
}

// TestDamagedRoots: a root file that was changed in any place opens nothing, and says so.
func TestDamagedRoots(t *testing.T) {
	dir, k := t.TempDir(), key(t)
	sealed, err := sealer(t, dir, k).Seal("a", []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "roots", "*.json"))
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "not JSON": []byte("{"), "cut": raw[:len(raw)/2], "null": []byte("null"),
		"other id":   bytes.Replace(raw, []byte(`"id":"`), []byte(`"id":"0`), 1),
		"other key":  bytes.Replace(raw, []byte(k.Public().ID()), []byte("0000000000000000"), 1),
		"other wrap": bytes.Replace(raw, raw[len(raw)-40:len(raw)-30], []byte("AAAAAAAAAA"), 1),
	} {
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := opener(dir, k).Open(sealed, nil); err == nil || errors.Is(err, seal.ErrErased) {
			t.Errorf("%s: %q, %v: damage is not erasure", name, got, err)
		}
		if err := opener(dir, k).Erase(sealed); err == nil {
			t.Errorf("%s: erased under a root that cannot be read", name)
		}
	}
}

func TestRootsByScopeMonthAndProcess(t *testing.T) {
	dir, k := t.TempDir(), key(t)
	now := time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC)
	s, err := seal.NewSealer(dir, []*seal.PublicKey{k.Public()}, clock.Func(func() time.Time { return now }))
	if err != nil {
		t.Fatal(err)
	}
	roots := func() int {
		files, _ := filepath.Glob(filepath.Join(dir, "roots", "*.json"))
		return len(files)
	}
	seal1 := func(scope seal.Scope, want int) {
		t.Helper()
		if _, err := s.Seal(scope, nil, nil); err != nil {
			t.Fatal(err)
		}
		if roots() != want {
			t.Errorf("%d roots, want %d", roots(), want)
		}
	}
	seal1("a", 1)
	seal1("a", 1)
	seal1("b", 2)
	now = now.Add(time.Minute)
	seal1("a", 3)
	s = sealer(t, dir, k)
	seal1("a", 4)
}

func TestNoRootNoRecord(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "roots"), nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	if _, err := sealer(t, dir, key(t)).Seal("a", []byte("x"), nil); err == nil {
		t.Error("sealed under a root that is not durable")
	}
	if _, err := seal.NewSealer(dir, nil, clock.System{}); err == nil {
		t.Error("sealed to nobody")
	}
}

func TestKeyFiles(t *testing.T) {
	k := key(t)
	locked, err := k.Lock("pass phrase")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.UnlockKey(locked, "other"); err == nil {
		t.Error("any passphrase opens it")
	}
	back, err := seal.UnlockKey(locked, "pass phrase")
	if err != nil || back.Public().ID() != k.Public().ID() {
		t.Fatal(err)
	}
	public, err := seal.ParsePublic(k.Public().String())
	if err != nil || public.ID() != k.Public().ID() {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "x", strings.Replace(k.Public().String(), k.Public().ID(), "0000000000000000", 1)} {
		if _, err := seal.ParsePublic(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "pass"), []byte("words\n"), 0o600)
	t.Setenv("PASS", "words")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for _, reference := range []string{"file:pass", "file:" + dir + "/pass", "env:PASS", "credential:pass"} {
		if got, err := seal.Passphrase(reference, dir); err != nil || got != "words" {
			t.Errorf("%s: %q, %v", reference, got, err)
		}
	}
	for _, reference := range []string{"words", "file:none", "env:NONE", "credential:none"} {
		if _, err := seal.Passphrase(reference, dir); err == nil {
			t.Errorf("%s gave a passphrase", reference)
		}
	}
}

func TestRecoveryShares(t *testing.T) {
	k := key(t)
	file, shares, err := k.Split(5, 3)
	if err != nil {
		t.Fatal(err)
	}
	back, err := seal.Recover(file, []string{shares[4], shares[0], shares[2]})
	if err != nil || back.Public().ID() != k.Public().ID() {
		t.Fatal(err)
	}
	_, others, _ := key(t).Split(3, 2)
	for name, lines := range map[string][]string{
		"too few":   shares[:2],
		"repeated":  {shares[0], shares[0], shares[1]},
		"mistyped":  {shares[0], shares[1], strings.Replace(shares[2], " 3 ", " 4 ", 1)},
		"other key": {shares[0], shares[1], others[0]},
		"not one":   {"x", shares[1], shares[2]},
	} {
		if _, err := seal.Recover(file, lines); err == nil {
			t.Errorf("%s: recovered", name)
		}
	}
	if _, _, err := k.Split(2, 1); err == nil {
		t.Error("one share is no sharing")
	}
}

func FuzzOpen(f *testing.F) {
	dir, k := f.TempDir(), key(f)
	sealed, err := sealer(f, dir, k).Seal("a", []byte("x"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{1})
	o := opener(dir, k)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := o.Open(b, nil); err == nil && !bytes.Equal(b, sealed) {
			t.Error("opened what was never sealed")
		}
	})
}

func FuzzKeyTexts(f *testing.F) {
	k := key(f)
	file, shares, _ := k.Split(3, 2)
	f.Add(k.Public().String(), file, shares[0])
	f.Fuzz(func(t *testing.T, public string, file []byte, share string) {
		seal.ParsePublic(public)
		seal.Recover(file, []string{share, share})
	})
}

func BenchmarkSeal(b *testing.B) {
	s := sealer(b, b.TempDir(), key(b))
	content := make([]byte, 700)
	for b.Loop() {
		if _, err := s.Seal("room", content, []byte("id")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenRandom(b *testing.B) {
	dir, k := b.TempDir(), key(b)
	s, o := sealer(b, dir, k), opener(dir, k)
	var all [][]byte
	for range 1000 {
		x, _ := s.Seal("room", make([]byte, 700), nil)
		all = append(all, x)
	}
	for i := 0; b.Loop(); i++ {
		if _, err := o.Open(all[i*7919%1000], nil); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzRoot puts any bytes in the place of a root file: nothing opens but what was sealed, and nothing panics.
func FuzzRoot(f *testing.F) {
	dir, k := f.TempDir(), key(f)
	sealed, err := sealer(f, dir, k).Seal("a", []byte("x"), nil)
	if err != nil {
		f.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "roots", "*.json"))
	raw, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"v":1,"wrapped":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := opener(dir, k).Open(sealed, nil); err == nil && string(got) != "x" {
			t.Errorf("%q", got)
		}
	})
}
