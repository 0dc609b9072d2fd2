package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// The exit status of `ashlar`, for scripts.
const (
	ExitOK          = 0
	ExitError       = 1 // whatever has no status of its own
	ExitUsage       = 2 // the command line, or what it asks for, makes no sense
	ExitNotFound    = 3 // what it names is not there
	ExitConflict    = 4 // the present state does not allow it, or somebody changed it meanwhile
	ExitRefused     = 5 // no valid token, or one that may not do this
	ExitUnavailable = 6 // no node answers, or none can now; it may be tried again
)

// exitHelp is the table above for people.
const exitHelp = `Exit status:
  0  it worked
  1  it did not, for another reason than those below
  2  the command line, or what it asks for, makes no sense
  3  what it names is not there
  4  the present state does not allow it, or somebody changed it meanwhile
  5  there is no valid token, or it may not do this
  6  no node answers, or none can do it now; try again`

// statusError is an error that knows its exit status.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// usage is an error of who typed the command.
func usage(format string, args ...any) error {
	return &statusError{ExitUsage, fmt.Sprintf(format, args...)}
}

// missing says that what a command names is not there.
func missing(format string, args ...any) error {
	return &statusError{ExitNotFound, fmt.Sprintf(format, args...)}
}

// ExitStatus is the exit status for the error of a command.
func ExitStatus(err error) int {
	var own *statusError
	var answer *client.Error
	var network *url.Error // of the client's request
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &own):
		return own.status
	case errors.As(err, &answer):
		return answerStatus(answer.Code)
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return ExitUnavailable
	case cobraComplains(err):
		return ExitUsage
	}
	return ExitError
}

func answerStatus(code wire.Code) int {
	switch code {
	case wire.BadRequest, wire.InvalidField, wire.NotSupported, wire.MethodNotAllowed, wire.BodyTooLarge,
		wire.UnsupportedMediaType:
		return ExitUsage
	case wire.NotFound:
		return ExitNotFound
	case wire.Conflict, wire.VolumeExported, wire.LastAdminToken, wire.NotEnoughDomains, wire.PreconditionFailed,
		wire.QuotaExceeded, wire.PoolOvercommitted, wire.VolumeHasSnapshots, wire.SnapshotExported,
		wire.SnapshotNotNewest, wire.SnapshotLimit, wire.VolumeInGroup, wire.SnapshotInGroup,
		wire.GroupNotEmpty, wire.PoolNotEmpty, wire.ShrinkNotAllowed, wire.VolumeHoldsData, wire.VolumeShrinking:
		return ExitConflict
	case wire.Unauthenticated, wire.Forbidden:
		return ExitRefused
	case wire.Unavailable, wire.TooManyRequests:
		return ExitUnavailable
	}
	return ExitError
}

// cobraComplains recognises the errors that cobra makes without asking anybody.
func cobraComplains(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "unknown command ") || strings.HasPrefix(text, "required flag(s) ") ||
		strings.HasPrefix(text, "if any flags in the group ")
}

// strict makes what is typed wrongly an error of usage, here and below.
func strict(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	each(c, func(c *cobra.Command) {
		if check := c.Args; check != nil {
			c.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return usage("%v; the form is: %s", err, cmd.UseLine())
				}
				return nil
			}
		}
		if !c.Runnable() && c.HasSubCommands() && c.HasParent() { // else cobra prints help and all seems well
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usage("unknown command %q for %q; see `%s --help`", args[0], cmd.CommandPath(),
						cmd.CommandPath())
				}
				return cmd.Help()
			}
		}
	})
}

// each calls f for a command and all below it.
func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		each(sub, f)
	}
}
