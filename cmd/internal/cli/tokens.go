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
	c.AddCommand(tokenCreate(g), tokenList(g), tokenRevoke(g))
	return c
}

func tokenCreate(g *global) *cobra.Command {
	var role string
	var expires time.Duration
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a token; its secret is printed now and never again",
		Args:    cobra.ExactArgs(1),
		Example: "  ashlar token create cinder > cinder.token",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			tok, err := c.CreateToken(cmd.Context(), wire.TokenCreate{Name: args[0], Role: role,
				ExpiresSeconds: int64(expires / time.Second)})
			if err != nil {
				return err
			}
			if g.v.GetString("output") != "table" {
				return g.print(cmd, tok, table{})
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Token %s, role %s; its secret:\n", tok.ID, tok.Role)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), tok.Secret)
			return err
		}),
	}
	c.Flags().StringVar(&role, "role", "admin", "admin, or join (admits one node)")
	c.Flags().DurationVar(&expires, "expires", 0, "how long it is valid (default: until it is revoked)")
	return c
}

func tokenList(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tokens, without their secrets", Args: cobra.NoArgs,
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			tokens, err := c.AllTokens(cmd.Context())
			if err != nil {
				return err
			}
			t := table{head: []string{"ID", "NAME", "ROLE", "CREATED", "EXPIRES", "USED BY NODE"}}
			for _, x := range tokens {
				used := ""
				if x.UsedBy != 0 {
					used = fmt.Sprint(x.UsedBy)
				}
				t.add(x.ID, x.Name, x.Role, x.Created, x.Expires, used)
			}
			return g.print(cmd, tokens, t)
		}),
	}
}

func tokenRevoke(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke a token", Args: cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			id, err := parseUUID("token", args[0])
			if err != nil {
				return err
			}
			return c.DeleteToken(cmd.Context(), id)
		}),
	}
}
