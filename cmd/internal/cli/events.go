package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func eventsCommand(g *global) *cobra.Command {
	e := &events{global: g}
	c := &cobra.Command{
		Use: "events", Short: "Show what happened in the cluster",
		Long: "Show the last events, oldest first: volumes made and deleted, devices that failed, redundancy " +
			"that is low or whole again. With --follow, go on with what happens from now on, without a gap, until " +
			"Ctrl-C; in JSON that is one object a line.",
		Example: "  ashlar events --last 20\n  ashlar events --severity warning --follow\n" +
			"  ashlar events --kind volume --subject disk1 -o json",
		Args: cobra.NoArgs,
		RunE: g.run(e.run),
	}
	f := c.Flags()
	f.IntVar(&e.last, "last", 50, "how many of those that were")
	f.StringVar(&e.severity, "severity", "", "only those of at least this severity: info, warning or error")
	f.StringVar(&e.kind, "kind", "", "only this kind, such as volume.created, or its beginning up to a dot")
	f.StringVar(&e.subject, "subject", "", "only those about this resource: its id, or the name of a volume")
	f.BoolVarP(&e.follow, "follow", "f", false, "go on with what happens from now on")
	return c
}

// events shows events.
type events struct {
	*global
	last                    int
	severity, kind, subject string
	follow                  bool
}

// severities in ascending order.
func severities() []wire.Severity { return []wire.Severity{wire.Info, wire.Warning, wire.Alarm} }

func (e *events) run(cmd *cobra.Command, c *client.Client, _ []string) error {
	if e.last < 0 || e.last > 1000 {
		return usage("--last: %d is not in 0 to 1000", e.last)
	}
	if e.severity != "" && !slices.Contains(severities(), wire.Severity(e.severity)) {
		return usage("--severity: %q is not info, warning or error", e.severity)
	}
	if e.subject != "" {
		if v, err := findVolume(cmd.Context(), c, e.subject); err == nil {
			e.subject = v.ID.String()
		}
	}
	if !e.follow {
		found, err := e.past(cmd, c)
		if err != nil {
			return err
		}
		return e.print(cmd, found, eventTable(found))
	}
	shown := map[string]bool{} // what is in the list may be in the stream, too
	err := c.Follow(cmd.Context(), func(m wire.Message) error {
		switch {
		case m.Change != nil || m.Event != nil && shown[m.Event.ID]:
			return nil
		case m.Event != nil:
			return e.tell(cmd, *m.Event)
		}
		found, err := e.past(cmd, c) // the stream has begun: nothing is between the two
		for _, x := range found {
			if err == nil && !shown[x.ID] {
				err = e.tell(cmd, x)
			}
			shown[x.ID] = true
		}
		return err
	})
	if cmd.Context().Err() != nil { // Ctrl-C is how it ends
		return nil
	}
	return err
}

// past lists what was, oldest first.
func (e *events) past(cmd *cobra.Command, c *client.Client) ([]wire.Event, error) {
	found := []wire.Event{}
	opts := client.EventListOpts{Kind: e.kind, Subject: e.subject}
	for len(found) < e.last {
		opts.Limit = min(e.last, 500)
		page, err := c.ListEvents(cmd.Context(), opts)
		if err != nil {
			return nil, err
		}
		for _, x := range page.Items {
			if e.wanted(x) {
				found = append(found, x)
			}
		}
		if opts.Cursor = page.Next; opts.Cursor == "" {
			break
		}
	}
	found = found[:min(len(found), e.last)]
	slices.Reverse(found)
	return found, nil
}

func (e *events) wanted(x wire.Event) bool {
	return slices.Index(severities(), x.Severity) >= slices.Index(severities(), wire.Severity(e.severity)) &&
		(e.kind == "" || x.Kind == e.kind || strings.HasPrefix(x.Kind, e.kind+".")) &&
		(e.subject == "" || x.Subject.ID == e.subject)
}

// tell shows an event as a line of its own.
func (e *events) tell(cmd *cobra.Command, x wire.Event) error {
	if !e.wanted(x) {
		return nil
	}
	w := cmd.OutOrStdout()
	switch e.v.GetString("output") {
	case formJSON, formYAML: // a JSON object is YAML, too
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(x)
	case formName:
		_, err := fmt.Fprintln(w, x.ID)
		return err
	}
	_, err := fmt.Fprintf(w, "%s  %-7s  %-20s  %s\n", x.Time, x.Severity, x.Kind, x.Message)
	return err
}

func eventTable(found []wire.Event) table {
	t := table{wide: 3, key: 6,
		head: []string{"TIME", "SEVERITY", "KIND", "MESSAGE", "SUBJECT", "PROJECT", "ID"}}
	for _, x := range found {
		t.add(x.Time, x.Severity, x.Kind, x.Message, x.Subject.Type+" "+x.Subject.ID, x.Project, x.ID)
	}
	return t
}
