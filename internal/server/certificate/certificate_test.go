package certificate_test

import (
	"os"
	"testing"

	"github.com/chaperone-im/chaperone/internal/server/certificate"
)

func TestSelfSigned(t *testing.T) {
	dir := t.TempDir()
	cert, key, err := certificate.SelfSigned(dir, "c", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(cert)
	certificate.SelfSigned(dir, "c", "127.0.0.1", "0.0.0.0", "")
	if again, _ := os.ReadFile(cert); string(again) != string(first) {
		t.Error("a good certificate was made anew")
	}
	certificate.SelfSigned(dir, "c", "chat.example.org", "192.0.2.7")
	second, _ := os.ReadFile(cert)
	if string(second) == string(first) {
		t.Error("a certificate that is not for the host was kept")
	}
	os.WriteFile(key, []byte("torn"), 0o600)
	certificate.SelfSigned(dir, "c", "chat.example.org")
	if third, _ := os.ReadFile(cert); string(third) == string(second) {
		t.Error("a certificate whose key is torn was kept")
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key is %v (%v)", info.Mode(), err)
	}
}
