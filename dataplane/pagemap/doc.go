// Package pagemap is the pure core of the page store: the map of one device from (volume, page, column, block)
// to the versions held of that block, and from there to free space.
package pagemap
