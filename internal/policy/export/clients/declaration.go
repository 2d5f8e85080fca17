package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"strings"

	"github.com/chaperone-im/chaperone/internal/policy/export"
)

// ErrNoURL says that a declaration cannot be written without the address of its profile.
var ErrNoURL = errors.New("a declaration names the https:// address where the device management serves the profile of clients-profile")

// declaration is what all declarations have (github.com/apple/device-management, declarative/declarations/declarationbase.yaml).
type declaration struct {
	Type       string
	Identifier string // of at most 64 octets
	Token      string `json:"ServerToken"` // another one for each revision, of at most 64 octets
	Payload    any
}

// activationID is the identifier of the activation; that of the configuration is profileID.
const activationID = profileID + ".activation"

// Declaration writes the configuration that has a device fetch and install the profile (…/configurations/legacy.yaml, macOS 13): preference
// domains of other vendors have no declaration of their own. Its token changes with the profile and with its address.
func Declaration(w io.Writer, p *export.Plan) (left []string, err error) {
	var profile bytes.Buffer
	if left, err = Profile(&profile, p); err != nil {
		return nil, err
	}
	if u, err := url.Parse(p.ProfileURL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, ErrNoURL
	}
	if len(p.Clients) > 0 {
		left = append(left, "the device management has to serve the file of clients-profile, of the same policy, at "+p.ProfileURL+"; the device fetches it from there alone")
	}
	return left, export.WriteJSON(w, declaration{"com.apple.configuration.legacy", profileID, token(profile.String(), p.ProfileURL), map[string]any{"ProfileURL": p.ProfileURL}})
}

// Activation writes the activation that puts the configuration in force (…/activations/simple.yaml).
func Activation(w io.Writer, p *export.Plan) (left []string, err error) {
	if left, err = Profile(io.Discard, p); err != nil {
		return nil, err
	}
	ids := []string{profileID}
	return left, export.WriteJSON(w, declaration{"com.apple.activation.simple", activationID, token(ids...), map[string]any{"StandardConfigurations": ids}})
}

// token is the same for the same content.
func token(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}
