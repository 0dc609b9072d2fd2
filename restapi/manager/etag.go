package manager

import (
	"strconv"
	"strings"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// etag is the HTTP form of the revision of a record. Two answers that have it in common were drawn from the
// same record, though what nodes publish of its resource may have changed.
func etag(rev int64) string { return `"` + strconv.FormatInt(rev, 10) + `"` }

// matches refuses unless the ETag of a record is one of ifMatch, the value of the header If-Match. An empty
// one matches all that exist.
func matches(ifMatch string, rev int64) error {
	if ifMatch == "" {
		return nil
	}
	for one := range strings.SplitSeq(ifMatch, ",") {
		if one = strings.TrimSpace(one); one == etag(rev) || one == "*" {
			return nil
		}
	}
	return refuse(wire.PreconditionFailed, "If-Match", "it was changed: its ETag is %s now", etag(rev))
}
