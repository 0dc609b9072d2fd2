// Package control is the conversation between a test and the agent inside a guest: run this shell script,
// here is its output, send it that signal, it ended with this code. Any number of scripts run at a time, so
// a test can inject events while I/O goes on.
//
// The guest calls the host (slirp lets it reach the host's loopback, not the other way round). Both sides
// send JSON objects, one per line, on one TCP connection:
//
//	guest -> host   {"token":"…"}                     first line: proves it is the guest that was started
//	host  -> guest  {"id":7,"run":"nvme list"}        start a script under sh -c, in a process group of its own
//	host  -> guest  {"id":7,"signal":2}               send a signal to that group
//	guest -> host   {"id":7,"out":"base64"}           what it wrote, standard output and error as they come
//	guest -> host   {"id":7,"exit":0}                 last message of 7; 128+n when signal n ended it
//
// When the connection ends the agent kills what still runs and returns, which powers the guest off: a test
// that dies leaves no guest behind.
package control
