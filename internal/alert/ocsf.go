package alert

import (
	"encoding/json"
	"strconv"
)

// ocsfVersion is the version of the Open Cybersecurity Schema Framework that findings are written in.
const ocsfVersion = "1.3.0"

// detectionFinding is OCSF class 2004, Detection Finding: the attributes that it requires, and those that we have.
type detectionFinding struct {
	ActivityID  int          `json:"activity_id"` // 1: create
	CategoryUID int          `json:"category_uid"`
	ClassUID    int          `json:"class_uid"`
	TypeUID     int          `json:"type_uid"`
	SeverityID  int          `json:"severity_id"`
	StatusID    int          `json:"status_id"` // 1: new
	Time        int64        `json:"time"`      // milliseconds since 1970
	Message     string       `json:"message"`
	Count       int          `json:"count"`
	Metadata    ocsfMetadata `json:"metadata"`
	FindingInfo ocsfFinding  `json:"finding_info"`
}

type ocsfMetadata struct {
	Version string      `json:"version"`
	Product ocsfProduct `json:"product"`
}

type ocsfProduct struct {
	Name   string `json:"name"`
	Vendor string `json:"vendor_name"`
}

type ocsfFinding struct {
	UID         string `json:"uid"`
	Title       string `json:"title"`
	Description string `json:"desc,omitempty"`
}

// OCSF returns the alert as an OCSF 1.3 Detection Finding in JSON.
func (a Alert) OCSF() ([]byte, error) {
	uid := string(a.Record)
	if uid == "" {
		uid = a.Key + " " + strconv.FormatInt(a.Time.UnixMilli(), 10)
	}
	return json.Marshal(detectionFinding{ActivityID: 1, CategoryUID: 2, ClassUID: 2004, TypeUID: 200401, SeverityID: int(a.Severity), StatusID: 1,
		Time: a.Time.UnixMilli(), Message: a.Title, Count: a.Repeated + 1,
		Metadata:    ocsfMetadata{ocsfVersion, ocsfProduct{"Chaperone", "Chaperone"}},
		FindingInfo: ocsfFinding{uid, a.Title, a.Detail}})
}
