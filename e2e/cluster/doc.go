// Package cluster starts real ashlard processes for end-to-end tests and does to them what happens to
// servers: kill -9, a hang, a restart, a dead disk.
package cluster
