package stage

import (
	"context"
	"flag"
	"fmt"
	"io"
)

// Run is the command: it stages the function that args name and says on out what
// it made. It returns the exit code.
func Run(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("stage", flag.ContinueOnError)
	flags.SetOutput(errs)
	name := flags.String("function", "", "the function to stage, such as auth")
	folder := flags.String("out", "", "where to; dist/NAME unless given")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *name == "" || flags.NArg() > 0 {
		fmt.Fprintln(errs, "say which function: -function auth [-out dist/auth]")
		return 2
	}
	if *folder == "" {
		*folder = "dist/" + *name
	}
	staged, err := Stage(ctx, ".", *name, *folder)
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	fmt.Fprintf(out, "%s  %s (--function %s, %d files, %.1f MB)\n", staged.Digest, *folder, Target(*name), staged.Files, float64(staged.Bytes)/1e6)
	return 0
}
