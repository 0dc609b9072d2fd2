package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TaskListOpts narrows a list of tasks.
type TaskListOpts struct {
	ListOpts
	Kind    wire.TaskKind
	Subject string // id of what is worked on
}

// ListTasks lists one page of the tasks that are not done.
func (c *Client) ListTasks(ctx context.Context, opts TaskListOpts) (wire.Page[wire.Task], error) {
	return get[wire.Page[wire.Task]](ctx, c, "/v1/tasks", opts.query("kind", string(opts.Kind), "subject",
		opts.Subject))
}

// FindTasks lists all tasks that opts do not leave out; the page in opts is not looked at.
func (c *Client) FindTasks(ctx context.Context, opts TaskListOpts) ([]wire.Task, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Task], error) {
		opts.ListOpts = o
		return c.ListTasks(ctx, opts)
	})
}

// GetTask shows a task, also when it is done.
func (c *Client) GetTask(ctx context.Context, id string) (wire.Task, error) {
	return get[wire.Task](ctx, c, "/v1/tasks/"+segment(id), nil)
}

// CancelTask ends a task that can be ended.
func (c *Client) CancelTask(ctx context.Context, id string) (out wire.Task, err error) {
	return out, c.do(ctx, call{method: http.MethodPost, path: "/v1/tasks/" + segment(id) + "/cancel",
		repeatable: true}, &out)
}
