package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/pki"
)

// defaultEndpoint is where a node's API is unless somebody moved it.
const defaultEndpoint = "http://127.0.0.1:7443"

// configuration is the file of contexts.
type configuration struct {
	Current  string            `yaml:"current" mapstructure:"current"`
	Contexts map[string]*entry `yaml:"contexts" mapstructure:"contexts"`
}

// entry is one cluster as one user sees it.
type entry struct {
	Endpoints []string `yaml:"endpoints" mapstructure:"endpoints"`
	Token     string   `yaml:"token,omitempty" mapstructure:"token"`
	TokenFile string   `yaml:"token-file,omitempty" mapstructure:"token-file"`
	CA        string   `yaml:"ca,omitempty" mapstructure:"ca"` // certificates to trust (PEM)
}

// global are the flags that every command has.
type global struct {
	v     *viper.Viper
	flags *pflag.FlagSet
}

func newGlobal(root *cobra.Command) *global {
	f := root.PersistentFlags()
	g := &global{v: viper.New(), flags: f}
	f.StringSlice("endpoint", nil,
		"base URL of a node's API; several for fail-over (default "+defaultEndpoint+")")
	f.String("token-file", "", "file that holds the bearer token (or set ASHLAR_TOKEN)")
	f.String("ca-file", "",
		"certificates (PEM) that vouch for the nodes' APIs: ca.pem in the data-dir of a node")
	f.String("context", "", "context of the configuration file to use")
	f.StringP("output", "o", formTable, "table, wide, json, yaml, or name (what other commands take)")
	f.Duration("timeout", 30*time.Second, "most time to wait for an answer")
	g.v.SetEnvPrefix("ASHLAR")
	g.v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	g.v.AutomaticEnv()
	if err := g.v.BindPFlags(f); err != nil {
		panic(err) // only a nil flag can cause it
	}
	_ = root.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions(forms(), cobra.ShellCompDirectiveNoFileComp))
	return g
}

// configPath is where the contexts are kept.
func (g *global) configPath() (string, error) {
	if p := g.v.GetString("config"); p != "" {
		return p, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the configuration file (set ASHLAR_CONFIG): %w", err)
	}
	return filepath.Join(dir, "ashlar", "config.yaml"), nil
}

// load reads the contexts; a file that is not there has none.
func (g *global) load() (*configuration, error) {
	c := &configuration{Contexts: map[string]*entry{}}
	path, err := g.configPath()
	if err != nil {
		return c, nil //nolint:nilerr // no home directory: no contexts
	}
	file := viper.New()
	file.SetConfigFile(path)
	file.SetConfigType("yaml")
	err = file.ReadInConfig()
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = file.UnmarshalExact(c)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	return c, nil
}

// save replaces the file of contexts. It may hold tokens: mode 0600.
func (g *global) save(c *configuration) error {
	path, err := g.configPath()
	if err != nil {
		return err
	}
	raw, err := yaml.Marshal(c)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path+".new", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write configuration file: %w", err)
	}
	return nil
}

// use finds out where the cluster is and who asks.
func (g *global) use() (entry, error) {
	c, err := g.load()
	if err != nil {
		return entry{}, err
	}
	name := g.v.GetString("context")
	chosen := name != ""
	if !chosen {
		name = c.Current
	}
	var ctx entry
	if found := c.Contexts[strings.ToLower(name)]; found != nil {
		ctx = *found
	} else if chosen {
		return ctx, missing("there is no context %q; `ashlar context list` shows them", name)
	}
	if e := g.v.GetStringSlice("endpoint"); len(e) > 0 {
		ctx.Endpoints = slices.DeleteFunc(strings.Split(strings.Join(e, ","), ","),
			func(s string) bool { return s == "" })
	}
	if len(ctx.Endpoints) == 0 {
		ctx.Endpoints = []string{defaultEndpoint}
	}
	if f := g.v.GetString("token-file"); f != "" {
		ctx.Token, ctx.TokenFile = "", f
	}
	if f := g.v.GetString("ca-file"); f != "" {
		text, err := os.ReadFile(f)
		if err != nil {
			return ctx, fmt.Errorf("ca-file: %w", err)
		}
		ctx.CA = string(text)
	}
	if t := g.v.GetString("token"); t != "" && !g.flags.Changed("token-file") { // flags come first
		ctx.Token, ctx.TokenFile = t, ""
	}
	return ctx, nil
}

// credentials is use with the token itself.
func (g *global) credentials() (entry, error) {
	ctx, err := g.use()
	if err != nil {
		return entry{}, err
	}
	if ctx.TokenFile != "" {
		raw, err := os.ReadFile(ctx.TokenFile)
		if err != nil {
			return entry{}, fmt.Errorf("token file: %w", err)
		}
		ctx.Token = strings.TrimSpace(string(raw))
	}
	return ctx, nil
}

// secrets are what this command line knows and nobody else should.
func (g *global) secrets() [][]byte {
	ctx, err := g.credentials()
	if err != nil {
		return nil
	}
	return [][]byte{[]byte(ctx.Token)}
}

// client makes the client of the cluster in use.
func (g *global) client() (*client.Client, error) {
	ctx, err := g.credentials()
	if err != nil {
		return nil, err
	}
	return g.connect(ctx)
}

func (g *global) connect(ctx entry) (_ *client.Client, err error) {
	o := client.Options{Endpoints: ctx.Endpoints, Token: ctx.Token, Timeout: g.v.GetDuration("timeout")}
	if ctx.CA != "" {
		if o.Transport, err = pki.Transport(ctx.CA); err != nil {
			return nil, fmt.Errorf("certificates to trust: %w", err)
		}
	}
	return client.New(o)
}

func contextCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "context", Short: "Clusters this command line knows"}
	c.AddCommand(contextList(g), contextAdd(g), contextUse(g), contextRemove(g))
	return c
}

func contextList(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the contexts", Args: cobra.NoArgs, Example: "  ashlar context list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			t := table{head: []string{"CURRENT", "NAME", "ENDPOINTS", "TOKEN FILE"}, key: 1}
			type row struct {
				Name      string   `json:"name"`
				Current   bool     `json:"current"`
				Endpoints []string `json:"endpoints"`
				TokenFile string   `json:"token_file,omitempty"`
			}
			rows := []row{}
			for name, x := range c.Contexts {
				rows = append(rows, row{name, name == strings.ToLower(c.Current), x.Endpoints, x.TokenFile})
			}
			slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.Name, b.Name) })
			for _, r := range rows {
				mark := ""
				if r.Current {
					mark = "*"
				}
				t.add(mark, r.Name, strings.Join(r.Endpoints, ","), r.TokenFile)
			}
			return g.print(cmd, rows, t)
		},
	}
}

func contextAdd(g *global) *cobra.Command {
	var fingerprint string
	cmd := &cobra.Command{
		Use: "add NAME", Aliases: []string{"set"},
		Short: "Keep --endpoint, --token-file (or ASHLAR_TOKEN) and --ca-file as a context, and use it",
		Example: "  ashlar context add lab --endpoint http://192.0.2.1:7443,http://192.0.2.2:7443 " +
			"--token-file ~/lab.token\n" +
			"  ashlar context add lab --endpoint https://192.0.2.1:7443 --ca-fingerprint sha256:5e1f...",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			ctx, err := g.use()
			if err != nil {
				return err
			}
			if fingerprint != "" {
				if ctx.CA, err = pki.Fetch(cmd.Context(), ctx.Endpoints[0], fingerprint); err != nil {
					return err
				}
			}
			name := strings.ToLower(args[0])
			c.Current = name
			c.Contexts[name] = &ctx
			return g.save(c)
		},
	}
	cmd.Flags().StringVar(&fingerprint, "ca-fingerprint", "",
		"fingerprint of the cluster's authority, which is fetched and kept instead of --ca-file")
	return cmd
}

func contextUse(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "use CONTEXT", Short: "Use another context from now on", Args: cobra.ExactArgs(1),
		Example: "  ashlar context use lab",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			if c.Contexts[strings.ToLower(args[0])] == nil {
				return missing("there is no context %q; `ashlar context list` shows them", args[0])
			}
			c.Current = strings.ToLower(args[0])
			return g.save(c)
		},
	}
}

func contextRemove(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "remove CONTEXT", Short: "Forget a context", Args: cobra.ExactArgs(1),
		Example: "  ashlar context remove lab",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			name := strings.ToLower(args[0])
			if c.Contexts[name] == nil {
				return missing("there is no context %q; `ashlar context list` shows them", args[0])
			}
			delete(c.Contexts, name)
			if strings.ToLower(c.Current) == name {
				c.Current = ""
			}
			return g.save(c)
		},
	}
}
