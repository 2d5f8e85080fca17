package santa

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Bounds of bodies.
const (
	maxSent   = 4 << 20 // as it is sent, compressed or not
	maxBody   = 8 << 20 // once it is not
	maxBodies = 16      // in memory at a time
	maxEvents = 1000    // of one upload
	batchSize = 100     // events that machines are told to upload at a time
	pageSize  = 500     // rules of one page
	maxText   = 4096    // of one field
)

// The messages of sync/v1.proto, with the fields that are used. Fields that are not known are passed over, as protojson readers do.
type (
	preflightRequest struct {
		Serial    string `json:"serial_num"`
		Hostname  string `json:"hostname"`
		OSVersion string `json:"os_version"`
		Version   string `json:"santa_version"`
		User      string `json:"primary_user"`
		Mode      string `json:"client_mode"`
		Clean     bool   `json:"request_clean_sync"`
		MachineID string `json:"machine_id"`
	}
	preflightResponse struct {
		SyncType       string   `json:"sync_type"`
		BatchSize      int      `json:"batch_size"`
		EnableBundles  bool     `json:"enable_bundles"`
		DisableUnknown bool     `json:"disable_unknown_event_upload"`
		FullSync       int      `json:"full_sync_interval"`
		BlockUSB       *bool    `json:"block_usb_mount,omitempty"`
		RemountUSB     []string `json:"remount_usb_mode,omitempty"`
	}
	eventUploadRequest struct {
		Events    []json.RawMessage `json:"events"`
		MachineID string            `json:"machine_id"`
	}
	execution struct {
		SHA256    string `json:"file_sha256"`
		Path      string `json:"file_path"`
		Name      string `json:"file_name"`
		User      string `json:"executing_user"`
		Time      number `json:"execution_time"`
		Decision  string `json:"decision"`
		BundleID  string `json:"file_bundle_id"`
		Version   string `json:"file_bundle_version_string"`
		PID       number `json:"pid"`
		TeamID    string `json:"team_id"`
		SigningID string `json:"signing_id"`
		Chain     []struct {
			CN  string `json:"cn"`
			Org string `json:"org"`
			OU  string `json:"ou"`
		} `json:"signing_chain"`
	}
	ruleDownloadRequest struct {
		Cursor    string `json:"cursor"`
		MachineID string `json:"machine_id"`
	}
	postflightRequest struct {
		Received  number `json:"rules_received"`
		Processed number `json:"rules_processed"`
		SyncType  string `json:"sync_type"`
		MachineID string `json:"machine_id"`
	}
)

// number is a number of protojson, which may stand in quotes. What is no number is 0.
type number float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(b), `"`), 64)
	if err == nil && f >= -1e15 && f <= 1e15 {
		*n = number(f)
	}
	return nil
}

// Errors of bodies.
var (
	errTooLarge = errors.New("the body is too large")
	errMedia    = errors.New("bodies are JSON, plain or compressed by gzip or deflate")
)

// readBody reads and decodes a body within bounds.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return errMedia
	}
	sent, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSent))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return errTooLarge
		}
		return err
	}
	text, err := plain(sent, r.Header.Get("Content-Encoding"))
	if err != nil {
		return err
	}
	return decode(text, into)
}

// plain takes a compression off. What the protocol calls deflate is zlib (RFC 9110, section 8.4.1.2).
func plain(sent []byte, encoding string) ([]byte, error) {
	var from io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return sent, nil
	case "gzip":
		from, err = gzip.NewReader(bytes.NewReader(sent))
	case "deflate", "zlib":
		from, err = zlib.NewReader(bytes.NewReader(sent))
	default:
		return nil, errMedia
	}
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(from, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if len(text) > maxBody {
		return nil, errTooLarge
	}
	return text, nil
}

// decode reads one JSON value. An empty body is an empty message.
func decode(text []byte, into any) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

// clip bounds a text.
func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "\uFFFD")
}
