package initiator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// queueSpec is one queue of an association to be opened.
type queueSpec struct {
	qid       uint16
	cntlid    uint16
	depth     int
	inCapsule uint32
	readSize  int
	kato      time.Duration
}

// openQueue dials, initializes the connection, sends Connect and authenticates. It returns the controller's
// identifier. ctx bounds all of it.
func openQueue(ctx context.Context, cfg *Config, spec queueSpec) (*Queue, uint16, error) {
	conn, err := cfg.Dial(ctx, cfg.Addr)
	if err != nil {
		return nil, 0, fmt.Errorf("dial: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	framing, err := initialize(conn, cfg)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, ctx.Err())
		}
		return nil, 0, fmt.Errorf("initialize connection: %w", err)
	}
	q := newQueue(conn, queueParams{
		depth: spec.depth, inCapsule: spec.inCapsule, readSize: spec.readSize, timeout: cfg.Timeout,
		framing: framing,
	})
	cntlid, err := connect(ctx, q, cfg, spec)
	if err != nil {
		q.Close()
		return nil, 0, fmt.Errorf("connect queue %d: %w", spec.qid, err)
	}
	return q, cntlid, nil
}

// initialize exchanges ICReq and ICResp.
func initialize(conn net.Conn, cfg *Config) (nvme.Framing, error) {
	req := nvme.ICReq{HPDA: cfg.HPDA}
	if cfg.HeaderDigest {
		req.DGST |= nvme.DGSTHeader
	}
	if cfg.DataDigest {
		req.DGST |= nvme.DGSTData
	}
	b := make([]byte, nvme.TermReqSize+nvme.TermReqMaxData)
	req.Encode(b)
	if _, err := conn.Write(b[:nvme.ICSize]); err != nil {
		return nvme.Framing{}, err
	}
	if _, err := io.ReadFull(conn, b[:nvme.CommonHeaderSize]); err != nil {
		return nvme.Framing{}, lost(err)
	}
	h, _ := nvme.DecodeHeader(b)
	if h.PLEN < nvme.TermReqSize || int(h.PLEN) > len(b) {
		return nvme.Framing{}, fmt.Errorf("answer of %d bytes: %w", h.PLEN, nvme.ErrFormat)
	}
	if _, err := io.ReadFull(conn, b[nvme.CommonHeaderSize:h.PLEN]); err != nil {
		return nvme.Framing{}, lost(err)
	}
	if h.Type == nvme.PDUC2HTermReq {
		return nvme.Framing{}, terminated(b[:h.PLEN])
	}
	resp, f := nvme.DecodeICResp(b[:h.PLEN])
	if !f.OK() {
		return nvme.Framing{}, protocolError("ICResp", f)
	}
	if resp.DGST&^req.DGST != 0 {
		return nvme.Framing{}, errors.New("ICResp: the controller turned digests on that nobody asked for")
	}
	return nvme.NewFraming(req, resp), nil
}

// connect sends the Connect command and, when there is a secret, authenticates.
func connect(ctx context.Context, q *Queue, cfg *Config, spec queueSpec) (uint16, error) {
	data := make([]byte, nvme.ConnectDataSize)
	err := nvme.ConnectData{
		HostID: cfg.HostID, CNTLID: spec.cntlid, SubNQN: cfg.SubNQN, HostNQN: cfg.HostNQN,
	}.Encode(data)
	if err != nil {
		return 0, err
	}
	var cmd nvme.Command
	cmd.Connect(nvme.Connect{
		QID: spec.qid, SQSIZE: uint16(spec.depth - 1), CATTR: nvme.CATTRDisableSQFlow,
		KATO: uint32(max(spec.kato, 0).Milliseconds()),
	})
	c, err := q.Do(ctx, &cmd, data)
	if err != nil {
		return 0, err
	}
	cntlid := uint16(c.DW0)
	if len(cfg.Secret) == 0 {
		if c.DW0&(nvme.ConnectAuthATR|nvme.ConnectAuthASCR) != 0 {
			return 0, fmt.Errorf("no secret is configured: %w", nvme.AuthenticationRequired)
		}
		return cntlid, nil
	}
	if err := authenticate(ctx, q, cfg, spec.qid); err != nil {
		return 0, fmt.Errorf("authenticate: %w", err)
	}
	return cntlid, nil
}

// authenticate runs the transaction of nvme.ClusterAuth on a queue. Both sides prove that they know the
// secret.
func authenticate(ctx context.Context, q *Queue, cfg *Config, qid uint16) error {
	auth := nvme.ClusterAuth{HostNQN: cfg.HostNQN, SubNQN: cfg.SubNQN, QID: qid}
	if _, err := rand.Read(auth.Nonce[:]); err != nil {
		return err
	}
	fields := nvme.Authentication{SECP: nvme.SECPCluster, Length: nvme.ChallengeSize}
	var cmd nvme.Command
	cmd.AuthReceive(fields)
	if _, err := q.Do(ctx, &cmd, auth.Challenge[:]); err != nil {
		return fmt.Errorf("challenge: %w", err)
	}
	send := make([]byte, nvme.ClusterSendSize)
	auth.EncodeClusterSend(send, cfg.Secret)
	fields.Length = nvme.ClusterSendSize
	cmd.AuthSend(fields)
	if _, err := q.Do(ctx, &cmd, send); err != nil {
		return fmt.Errorf("proof: %w", err)
	}
	proof := make([]byte, nvme.ProofSize)
	fields.Length = nvme.ProofSize
	cmd.AuthReceive(fields)
	if _, err := q.Do(ctx, &cmd, proof); err != nil {
		return fmt.Errorf("controller's proof: %w", err)
	}
	if !auth.AcceptController(proof, cfg.Secret) {
		return errors.New("the controller does not know the secret")
	}
	return nil
}

// Do runs one command and waits for it. Any status but success is an error, of type nvme.Status. When ctx
// ends first, Do ends the connection: there is no other way to get the buffer back.
func (q *Queue) Do(ctx context.Context, cmd *nvme.Command, data []byte) (nvme.Completion, error) {
	ready := make(chan struct{})
	cmdIO := &IO{Cmd: *cmd, Data: data, Done: func(*IO) { close(ready) }}
	q.Submit(cmdIO)
	select {
	case <-ready:
	case <-ctx.Done():
		q.fail(ctx.Err(), nvme.Fault{})
		<-ready
	}
	if st := cmdIO.Status(); !st.OK() {
		if err := q.Err(); err != nil && st.IsPath() {
			return cmdIO.Completion, fmt.Errorf("%w: %w", st, err)
		}
		return cmdIO.Completion, st
	}
	return cmdIO.Completion, nil
}
