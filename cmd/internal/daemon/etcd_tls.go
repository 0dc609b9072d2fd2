package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/embedetcd"
	"github.com/ashlar-storage/ashlar/restapi/pki"
)

// etcdTLS is how this node's etcd clients talk; nil: in clear.
func (d *daemon) etcdTLS() embedetcd.Encryption {
	if d.state.EncryptEtcd {
		return func() *tls.Config { return pki.Client(d.cred.trust, d.cred.source.Present) }
	}
	return d.opt.Etcd.TLS
}

// EtcdFiles is how an external etcd is spoken to, from a setting "authorities,certificate,key": PEM files,
// which are looked at again for every connection. While they cannot be used, what they held before is.
func EtcdFiles(setting string) (embedetcd.Encryption, error) {
	files := strings.Split(setting, ",")
	if len(files) != 3 {
		return nil, errors.New("want three files: authorities,certificate,key")
	}
	own, err := pki.OpenFiles(files[1], files[2])
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	trust, err := pki.NewTrust(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", files[0], err)
	}
	return func() *tls.Config {
		if text, err := os.ReadFile(files[0]); err == nil && string(text) != trust.Text() {
			_ = trust.Set(string(text))
		}
		c := pki.Client(trust, own.Present)
		c.MinVersion = tls.VersionTLS12 // as etcd's own default
		return c
	}, nil
}
