package pagestore

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// surveyPiece is how many versions are counted under the lock at a time: as much as a purge does.
const surveyPiece = purgePiece

// Survey counts for whom the blocks of a volume are kept, in pieces that let others in. Its columns below
// data hold data, the others parity. ErrClosed, or the context's error.
func (s *Store) Survey(ctx context.Context, vol cluster.VolumeKey, data uint8) (pagemap.Space, error) {
	survey := pagemap.NewSurvey(vol, data)
	for more := true; more; {
		err := ctx.Err()
		if err == nil {
			more, err = s.surveyOn(survey)
		}
		if err != nil {
			return pagemap.Space{}, err
		}
	}
	return survey.Space(), nil
}

// surveyOn counts a piece more.
func (s *Store) surveyOn(survey *pagemap.Survey) (more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return false, ErrClosed
	}
	return s.mu.m.Survey(survey, surveyPiece), nil
}
