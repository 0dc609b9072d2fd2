// Package dev is `ashlar dev`: a whole cluster on this machine, to try things out and to develop against.
// Three real ashlard processes on loopback, each with its own data directory, disks (sparse files), ports
// and log:
//
//	DIR/ashlar-dev.json      marks the directory as ours; ports and sizes, so that they stay the same
//	DIR/lock                 held while `ashlar dev` runs here
//	DIR/env                  shell lines that point the command line at the cluster
//	DIR/node1/data           what ashlard keeps (node2, node3 alike)
//	DIR/node1/disk1, ...     the devices; enough for rs 4+2 with every chunk of a page on another one
//	DIR/node1/log
//
// The processes are children: they get SIGTERM when this process ends in any way, kill -9 included. One
// that is killed is started again after a while, so that a lost node can be watched coming back. Everything
// that is made (devices, pools, volume) is made through the API in calls that may be repeated, so a first
// start that was interrupted goes on.
package dev
