package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func tokenCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Credentials of the API"}
	c.AddCommand(tokenCreate(g), tokenList(g), tokenShow(g), tokenRevoke(g))
	return c
}

func tokenCreate(g *global) *cobra.Command {
	var role, project string
	var expires time.Duration
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a token; its secret is printed now and never again",
		Args: cobra.ExactArgs(1),
		Example: "  ashlar token create cinder --role tenant --project openstack > cinder.token\n" +
			"  ashlar token create dashboard --role viewer --expires 720h",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			tok, err := c.CreateToken(cmd.Context(), wire.TokenCreate{Name: args[0], Role: role,
				Project: project, ExpiresSeconds: int64(expires / time.Second)})
			if err != nil {
				return err
			}
			if g.structured() {
				return g.print(cmd, tok, table{})
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Token %s, role %s; its secret:\n", tok.ID, tok.Role)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), tok.Secret)
			return err
		}),
	}
	c.Flags().StringVar(&role, "role", "admin",
		"admin, operator, viewer, tenant (of a project), or join (admits one node)")
	c.Flags().StringVar(&project, "project", "",
		"that a tenant acts for, or beyond which a viewer does not look")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(
		[]string{"admin", "operator", "viewer", "tenant", "join"}, cobra.ShellCompDirectiveNoFileComp))
	c.Flags().DurationVar(&expires, "expires", 0, "how long it is valid (default: until it is revoked)")
	return c
}

func tokenList(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tokens, without their secrets", Args: cobra.NoArgs,
		Example: "  ashlar token list",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			tokens, err := c.AllTokens(cmd.Context())
			if err != nil {
				return err
			}
			return g.print(cmd, tokens, tokenTable(tokens...))
		}),
	}
}

func tokenShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show TOKEN", Short: "Show a token, without its secret", Args: cobra.ExactArgs(1),
		Example: "  ashlar token show 4f3c0f6e-0d58-4f7e-9a51-3f0a5a6a8a10",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			id, err := parseUUID("token", args[0])
			if err != nil {
				return err
			}
			tok, err := c.GetToken(cmd.Context(), id)
			if err != nil {
				return err
			}
			return g.print(cmd, tok, tokenTable(tok))
		}),
	}
}

func tokenTable(tokens ...wire.Token) table {
	t := table{head: []string{"ID", "NAME", "ROLE", "PROJECT", "CREATED", "EXPIRES", "LAST USED", "BY NODE"}}
	for _, x := range tokens {
		used := ""
		if x.UsedBy != 0 {
			used = fmt.Sprint(x.UsedBy)
		}
		t.add(x.ID, x.Name, x.Role, x.Project, x.Created, x.Expires, x.LastUsed, used)
	}
	return t
}

func tokenRevoke(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "revoke TOKEN", Short: "Revoke a token, by its id", Args: cobra.ExactArgs(1),
		Example: "  ashlar token revoke 4f3c0f6e-0d58-4f7e-9a51-3f0a5a6a8a10",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			id, err := parseUUID("token", args[0])
			if err != nil {
				return err
			}
			return c.DeleteToken(cmd.Context(), id)
		}),
	}
}
