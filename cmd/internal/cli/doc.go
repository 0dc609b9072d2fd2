// Package cli is the command line of Ashlar: `ashlar node list` and its kin. Every command is one or two
// calls of restapi/client and a table; the rules are the server's. What a command prints on standard output
// is its result and nothing else, so that `--output json` can be piped; notes and questions go to standard
// error.
//
// Where the cluster is and who asks is decided in this order:
//
//	flags            --endpoint, --token-file, --context
//	environment      ASHLAR_ENDPOINT, ASHLAR_TOKEN, ASHLAR_TOKEN_FILE, ASHLAR_CONTEXT, ASHLAR_OUTPUT
//	configuration    a context of ~/.config/ashlar/config.yaml (or $ASHLAR_CONFIG)
//	default          http://127.0.0.1:7443
//
// Files: one per resource, as in the API; context.go and output.go are what all of them use.
package cli
