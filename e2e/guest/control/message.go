package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// maxMessage bounds one line, in bytes. Output is cut into pieces far below it.
const maxMessage = 1 << 20

// message is one line of the conversation; which fields are set tells its kind.
type message struct {
	Token  string `json:"token,omitempty"`
	ID     int    `json:"id,omitempty"`
	Run    string `json:"run,omitempty"`
	Signal int    `json:"signal,omitempty"`
	Out    []byte `json:"out,omitempty"`
	Exit   *int   `json:"exit,omitempty"`
}

// wire reads and writes messages. Any goroutine may send; one receives.
type wire struct {
	in  *bufio.Scanner
	mu  sync.Mutex
	out *json.Encoder
}

func newWire(rw io.ReadWriter) *wire {
	w := &wire{in: bufio.NewScanner(rw), out: json.NewEncoder(rw)}
	w.in.Buffer(make([]byte, 0, 64<<10), maxMessage)
	return w
}

func (w *wire) send(m message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.out.Encode(m); err != nil {
		return fmt.Errorf("send control message: %w", err)
	}
	return nil
}

func (w *wire) receive() (message, error) {
	if !w.in.Scan() {
		if err := w.in.Err(); err != nil {
			return message{}, fmt.Errorf("receive control message: %w", err)
		}
		return message{}, io.EOF
	}
	var m message
	if err := json.Unmarshal(w.in.Bytes(), &m); err != nil {
		return message{}, fmt.Errorf("decode control message: %w", err)
	}
	return m, nil
}
