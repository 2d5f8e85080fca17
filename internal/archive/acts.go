package archive

import "github.com/chaperone-im/chaperone/internal/event"

// Acts that concern the content of records, as ActDetail.Action.
const (
	ActRead     = "content.read"
	ActDownload = "file.download"  // a recorded file, given out whole
	ActErase    = "record.erase"   // one record, before its time, asked for by two
	ActDispose  = "record.dispose" // the certificate of records whose time was over

	ActDisposed = "disposal.end" // all that the certificates of a run say is done
)

// DetailRecord names, in the details of an act that destroys, a record that it destroyed.
const DetailRecord = "record"

// Destroyed returns the records whose content an act destroyed.
func Destroyed(e *event.Event) []event.ID {
	if e.Kind != event.Act || e.Act == nil || e.Act.Action != ActErase && e.Act.Action != ActDispose {
		return nil
	}
	var out []event.ID
	for _, d := range e.Act.Details {
		if d.Name == DetailRecord {
			out = append(out, event.ID(d.Value))
		}
	}
	return out
}
