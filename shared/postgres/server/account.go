package server

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is who the server runs as. The zero account is whoever we are.
type account struct {
	name     string
	uid, gid uint32
}

// unprivileged returns the account that the server runs as: ours, and for root,
// whom PostgreSQL refuses, the first of names that the machine has.
func unprivileged(names []string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range names {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return account{}, fmt.Errorf("PostgreSQL refuses to run as root, and there is no account to run it as: make one of %s, run as another user, or set DATABASE_URL", strings.Join(names, " or "))
}

func (a account) ours() bool { return a.name == "" }

// as has cmd run as the account, in a process group of its own, so that a Ctrl-C
// of the terminal is ours to act on first.
func (a account) as(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !a.ours() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: []uint32{a.gid}}
	}
	// Messages in English, and nothing of ours that could steer the server.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	return cmd
}

// give makes path the account's.
func (a account) give(path string) error {
	if a.ours() {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// makeFolder makes a folder that is the account's and closed to others.
func (a account) makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return a.give(path)
}

// makeEnterable makes a folder, and those on the way to it, that the account may
// enter, whatever our umask.
func (a account) makeEnterable(path string) error {
	if a.ours() {
		return os.MkdirAll(path, 0o700)
	}
	for _, folder := range ways(path) {
		err := os.Mkdir(folder, 0o755)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err = errors.Join(err, os.Chmod(folder, 0o755)); err != nil {
			return err
		}
	}
	return os.MkdirAll(path, 0o755) // an error when it is no folder
}

// giveTree makes all of root the account's.
func (a account) giveTree(root string) error {
	if a.ours() {
		return nil
	}
	return filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return a.give(path)
	})
}

// closedTo returns the first folder on the way to dir that the account may not
// enter, or "".
func (a account) closedTo(dir string) string {
	if a.ours() {
		return ""
	}
	for _, folder := range ways(dir) {
		info, err := os.Stat(folder)
		if err != nil || !info.IsDir() {
			continue // makeEnterable says what is wrong with it
		}
		enter := info.Mode()&0o001 != 0
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid == a.uid {
			enter = info.Mode()&0o100 != 0
		} else if ok && owner.Gid == a.gid {
			enter = info.Mode()&0o010 != 0
		}
		if !enter {
			return folder
		}
	}
	return ""
}

// ways are the folders from the root to dir, dir among them.
func ways(dir string) []string {
	if parent := filepath.Dir(dir); parent != dir {
		return append(ways(parent), dir)
	}
	return []string{dir}
}
