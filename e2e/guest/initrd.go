package guest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"sort"
)

// file is one regular file for the guest's initramfs, with its whole content.
type file struct {
	name string // absolute
	mode uint32 // permission bits
	data []byte
}

// writeInitrd writes base followed by an archive of files to out; the kernel unpacks one after the other.
func writeInitrd(out, base string, files []file) (err error) {
	w, err := os.Create(out)
	if err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	defer func() {
		if e := w.Close(); err == nil && e != nil {
			err = fmt.Errorf("write initrd: %w", e)
		}
	}()
	r, err := os.Open(base)
	if err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	defer func() { _ = r.Close() }()
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	if _, err := w.Write(archive(files)); err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	return nil
}

// archive packs files, and the directories they need, in cpio's "newc" format: per entry a header of
// ASCII hexadecimal numbers, the name, the content, each part padded to 4 bytes.
func archive(files []file) []byte {
	var out bytes.Buffer
	ino := 0
	entry := func(name string, mode uint32, data []byte) {
		ino++
		fmt.Fprintf(&out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
		out.WriteString(name)
		out.WriteByte(0)
		pad(&out)
		out.Write(data)
		pad(&out)
	}
	for _, dir := range parents(files) {
		entry(dir, 0o040755, nil)
	}
	for _, f := range files {
		entry(f.name[1:], 0o100000|f.mode, f.data)
	}
	entry("TRAILER!!!", 0, nil)
	return out.Bytes()
}

func pad(out *bytes.Buffer) {
	for out.Len()%4 != 0 {
		out.WriteByte(0)
	}
}

// parents returns the directories above files, parents before children, without the leading slash.
func parents(files []file) []string {
	var dirs []string
	for _, f := range files {
		for dir := path.Dir(f.name); dir != "/"; dir = path.Dir(dir) {
			dirs = append(dirs, dir[1:])
		}
	}
	sort.Strings(dirs)
	return slices.Compact(dirs)
}
