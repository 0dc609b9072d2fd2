// Package pagestore keeps versions of 4 KiB blocks on one device, durably: a write is acknowledged when its
// data and its log record would survive power loss.
package pagestore
