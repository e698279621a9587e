package history

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// logFormat prints a commit as seven fields. Each ends with NUL (the last by
// -z), which git keeps out of all of them; a line break would not do, as a name
// or a subject may hold anything else.
const logFormat = "%H%x00%P%x00%at%x00%ct%x00%an%x00%ae%x00%s"

// Bounds on what is kept of a field; the rest is read and dropped, so that no
// commit takes more memory than another.
const (
	maxName    = 200
	maxEmail   = 320 // the longest there is
	maxSubject = 1000
	maxParents = 1 << 20 // of the whole list of shas: beyond, the commit is refused
	maxNumber  = 64
)

// LogArgs are the arguments of the git process that Log reads; the commits to
// begin with stand on its standard input.
func LogArgs() []string {
	return []string{"log", "--stdin", "-z", "--format=tformat:" + logFormat,
		"--no-patch", "--no-decorate", "--no-color", "--no-show-signature", "--encoding=UTF-8"}
}

// Log streams the commits that are reachable from tips.
func (r *Repository) Log(ctx context.Context, tips [][]byte) iter.Seq2[*Commit, error] {
	return func(yield func(*Commit, error) bool) {
		if len(tips) == 0 {
			return // git log would begin at HEAD
		}
		running, cancel := context.WithCancel(ctx)
		defer cancel()
		cmd := r.command(running, LogArgs()...)
		cmd.Stdin = bytes.NewReader(hexLines(tips))
		var complaint tail
		cmd.Stderr = &complaint
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			yield(nil, r.explain(ctx, err, &complaint))
			return
		}
		for commit, err := range parseLog(out) {
			if err != nil {
				cancel()
				_ = cmd.Wait() // what git complained of is in complaint
				yield(nil, r.explain(ctx, err, &complaint))
				return
			}
			if !yield(commit, nil) {
				cancel()
				_ = cmd.Wait()
				return
			}
		}
		if err := cmd.Wait(); err != nil {
			yield(nil, r.explain(ctx, err, &complaint))
		}
	}
}

// Count returns how many commits are reachable from tips.
func (r *Repository) Count(ctx context.Context, tips [][]byte) (int, error) {
	if len(tips) == 0 {
		return 0, nil
	}
	out, err := r.run(ctx, hexLines(tips), "rev-list", "--count", "--stdin")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

func hexLines(shas [][]byte) []byte {
	var lines []byte
	for _, sha := range shas {
		lines = append(hex.AppendEncode(lines, sha), '\n')
	}
	return lines
}

// parseLog reads what git prints for LogArgs. All commits share one value and
// its buffers.
func parseLog(in io.Reader) iter.Seq2[*Commit, error] {
	return func(yield func(*Commit, error) bool) {
		log := logReader{in: bufio.NewReaderSize(in, 64<<10), authors: map[string]Author{}}
		for {
			err := log.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&log.commit, nil) {
				return
			}
		}
	}
}

type logReader struct {
	in      *bufio.Reader
	field   []byte            // the field last read
	name    []byte            // of an author, while the address is read
	shas    []byte            // backs commit.SHA and commit.Parents
	authors map[string]Author // so that an author's strings are made once
	commit  Commit
}

// next reads one commit; io.EOF is the end between two.
func (l *logReader) next() error {
	if _, err := l.in.Peek(1); err != nil {
		return err
	}
	c := &l.commit
	if err := l.readIdentity(); err != nil {
		return err
	}
	if err := l.read(maxNumber); err != nil {
		return err
	}
	c.Authored = instant(l.field)
	if err := l.read(maxNumber); err != nil {
		return err
	}
	c.Committed = instant(l.field)
	if err := l.readAuthor(); err != nil {
		return err
	}
	if err := l.read(maxSubject); err != nil {
		return err
	}
	c.Subject = clean(l.field)
	return nil
}

// readIdentity reads the sha of a commit and those of its parents.
func (l *logReader) readIdentity() error {
	if err := l.read(64 + 1); err != nil {
		return err
	}
	width := len(l.field)
	if width != 40 && width != 64 {
		return fmt.Errorf("git printed %q where a sha should be", clean(l.field))
	}
	l.shas = append(l.shas[:0], l.field...)
	if err := l.read(maxParents); err != nil {
		return err
	}
	parents := l.field
	if len(parents) > 0 {
		if len(parents) >= maxParents || (len(parents)+1)%(width+1) != 0 {
			return fmt.Errorf("commit %s: git printed parents that cannot be read", l.shas)
		}
		for at := 0; at < len(parents); at += width + 1 {
			l.shas = append(l.shas, parents[at:at+width]...)
		}
	}
	// Decoding in place is safe: it writes behind where it reads.
	if _, err := hex.Decode(l.shas, l.shas); err != nil {
		return fmt.Errorf("git printed a sha that cannot be read: %w", err)
	}
	width /= 2
	l.commit.SHA = l.shas[:width]
	l.commit.Parents = l.commit.Parents[:0]
	for at := width; at < len(l.shas)/2; at += width {
		l.commit.Parents = append(l.commit.Parents, l.shas[at:at+width])
	}
	return nil
}

func (l *logReader) readAuthor() error {
	if err := l.read(maxName); err != nil {
		return err
	}
	l.name = append(append(l.name[:0], l.field...), 0)
	if err := l.read(maxEmail); err != nil {
		return err
	}
	email := l.field
	l.name = append(l.name, email...)
	author, known := l.authors[string(l.name)]
	if !known {
		author = Author{Name: clean(l.name[:len(l.name)-len(email)-1]), Email: clean(email)}
		l.authors[string(l.name)] = author
	}
	l.commit.Author = author
	return nil
}

// read reads up to the next NUL and keeps the first limit bytes.
func (l *logReader) read(limit int) error {
	l.field = l.field[:0]
	for {
		part, err := l.in.ReadSlice(0)
		if err == nil {
			part = part[:len(part)-1]
		}
		l.field = append(l.field, part[:min(len(part), limit-len(l.field))]...)
		switch {
		case err == nil:
			if len(l.field) == limit {
				l.field = cut(l.field)
			}
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the log ends within a commit: %w", io.ErrUnexpectedEOF)
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// cut drops a character that was cut in two at the end.
func cut(text []byte) []byte {
	for back := 1; back <= min(utf8.UTFMax-1, len(text)); back++ {
		if at := len(text) - back; utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				return text[:at]
			}
			break
		}
	}
	return text
}

// clean returns text as PostgreSQL takes it: valid UTF-8 without NUL. Git does
// not insist on an encoding, and what is none is shown as such.
func clean(text []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(text), "\uFFFD"), "\x00", "")
}
