package command

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/devops-dashboard/dashboard/infra/doctor/diagnosis"
	"github.com/devops-dashboard/dashboard/infra/doctor/refusal"
)

const (
	width = 96
	// many is how many findings of a kind are shown: more is not read.
	many = 12
)

// plain lets no control character through to a terminal, since tokens and files are
// written by others, and no token, wherever it was pasted: the name of a file is told
// where there is no such file.
type plain struct{ to io.Writer }

var tokenShaped = regexp.MustCompile(`eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)

func (p plain) Write(text []byte) (int, error) {
	hidden := tokenShaped.ReplaceAllString(string(text), "(a token, not shown: pass it by -token -, on standard input)")
	safe := strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, hidden)
	if _, err := io.WriteString(p.to, safe); err != nil {
		return 0, err
	}
	return len(text), nil
}

// show prints a report: first what stops the token, last what is well.
func show(out io.Writer, r diagnosis.Report) {
	fmt.Fprintln(out, headline(r))
	wrap(out, "", r.About+".")
	groups := []struct {
		title string
		of    func(diagnosis.Finding) bool
	}{
		{"", func(f diagnosis.Finding) bool { return stops(f) && !f.Next }},
		{"would fail next", func(f diagnosis.Finding) bool { return stops(f) && f.Next }},
		{"other functions", func(f diagnosis.Finding) bool { return f.Elsewhere && f.Effect != diagnosis.Notes }},
		{"lets in, or allows, too much", func(f diagnosis.Finding) bool { return !f.Elsewhere && f.Effect == diagnosis.Endangers }},
		{"not sure", func(f diagnosis.Finding) bool { return !f.Elsewhere && f.Effect == diagnosis.Doubts }},
		{"good to know", func(f diagnosis.Finding) bool { return f.Effect == diagnosis.Notes }},
	}
	for _, group := range groups {
		showGroup(out, r.Functions, group.title, slices.DeleteFunc(slices.Clone(r.Findings), func(f diagnosis.Finding) bool { return !group.of(f) }))
	}
	showIsolation(out, r.Isolation)
	fmt.Fprintln(out)
	wrap(out, "passed: ", strings.Join(r.Passed, " "))
	for _, skipped := range r.Skipped {
		wrap(out, "skipped: ", skipped)
	}
	for _, assumed := range r.Assumed {
		wrap(out, "assumed: ", assumed)
	}
}

func stops(f diagnosis.Finding) bool {
	return !f.Elsewhere && (f.Effect == diagnosis.Refuses || f.Effect == diagnosis.Breaks)
}

func headline(r diagnosis.Report) string {
	switch r.Verdict {
	case diagnosis.Refused:
		first := r.Findings[0]
		stage := diagnosis.Stages[slices.IndexFunc(diagnosis.Stages, func(s diagnosis.Stage) bool { return s.Letter == first.Check[:1] })]
		by, verb := stage.Of, "REFUSED"
		if e, ok := refusal.Find(first.Error); ok {
			by = e.By
		}
		if first.Effect == diagnosis.Breaks {
			verb = "ADMITTED, and fails afterwards,"
		}
		return fmt.Sprintf("%s by %s, because of %s", verb, by, stage.Name)
	case diagnosis.Unsure:
		if slices.ContainsFunc(r.Findings, func(f diagnosis.Finding) bool { return f.Open() }) {
			return "NOT SURE: whether it is admitted depends on what follows"
		}
		return "ADMITTED, but look at what follows"
	}
	return "ADMITTED"
}

func showGroup(out io.Writer, all []string, title string, findings []diagnosis.Finding) {
	if len(findings) == 0 {
		return
	}
	fmt.Fprintln(out)
	if title != "" {
		fmt.Fprintln(out, title)
	}
	said := ""
	findings, alike := fold(findings)
	for i, f := range findings {
		if i == many {
			fmt.Fprintf(out, "  and %d more; -json lists them all\n", len(findings)-many)
			return
		}
		what := f.Problem
		if len(f.Functions) > 0 && !(len(all) > 1 && slices.Equal(f.Functions, all)) {
			what = "[" + strings.Join(f.Functions, ", ") + "] " + what
		}
		wrap(out, fmt.Sprintf("  %-4s", f.Check), what)
		wrap(out, "      -> ", f.Remedy)
		if alike[i].functions != nil {
			wrap(out, "      likewise ", strings.Join(alike[i].functions, ", "))
		} else if alike[i].more > 0 {
			wrap(out, "      likewise ", fmt.Sprintf("%d more", alike[i].more))
		}
		wrap(out, "      at ", strings.Join(f.Fields, ", "))
		if says := f.Says(); says != "" && says != said && stops(f) {
			said = says
			wrap(out, "      the log says: ", says)
		}
	}
}

// others are findings that are not shown, being like one that is.
type others struct {
	functions []string
	more      int
}

// fold leaves out findings that say of another function, or of another job of a
// matrix, what an earlier one says.
func fold(findings []diagnosis.Finding) (first []diagnosis.Finding, alike []others) {
	at := map[string]int{}
	for _, f := range findings {
		key := f.Check + f.Remedy + strings.Join(f.Fields, "\n")
		if len(f.Functions) == 1 {
			key = f.Check + strings.ReplaceAll(f.Problem+f.Remedy, f.Functions[0], "*")
		}
		if i, ok := at[key]; ok {
			alike[i].functions = append(alike[i].functions, f.Functions...)
			alike[i].more++
			continue
		}
		at[key] = len(first)
		first, alike = append(first, f), append(alike, others{})
	}
	return first, alike
}

func showIsolation(out io.Writer, proof diagnosis.Isolation) {
	if len(proof.Functions) < 2 {
		return
	}
	wrong := 0
	for i, row := range proof.May {
		for j, may := range row {
			if may != (i == j) {
				wrong++
			}
		}
	}
	if wrong == 0 {
		fmt.Fprintf(out, "\nisolation: each of the %d environments may impersonate its own deployer, and no other\n", len(proof.Functions))
		return
	}
	if len(proof.Functions) > 20 {
		fmt.Fprintf(out, "\nisolation: wrong in %d places; -json has the table\n", wrong)
		return
	}
	fmt.Fprintln(out, "\nisolation: whose environment (row) may impersonate whose deployer (column); ! is wrong")
	widest := 0
	for _, name := range proof.Functions {
		widest = max(widest, utf8.RuneCountInString(name))
	}
	fmt.Fprintf(out, "  %-*s", widest, "")
	for _, name := range proof.Functions {
		fmt.Fprintf(out, "  %*s", max(4, utf8.RuneCountInString(name)), name)
	}
	fmt.Fprintln(out)
	for i, row := range proof.May {
		fmt.Fprintf(out, "  %-*s", widest, proof.Functions[i])
		for j, may := range row {
			cell := map[bool]string{true: "yes", false: "-"}[may]
			if may != (i == j) {
				cell += "!"
			}
			fmt.Fprintf(out, "  %*s", max(4, utf8.RuneCountInString(proof.Functions[j])), cell)
		}
		fmt.Fprintln(out)
	}
}

func showErrors(out io.Writer, found []refusal.Error, stage string) {
	if len(found) == 0 {
		wrap(out, "", "This is none of the errors that the doctor knows. Run it with the token, or with a scenario, to see where that would be refused.")
	}
	for i, e := range found {
		if i > 0 {
			fmt.Fprintln(out)
		}
		wrap(out, e.ID+"  ", e.Text)
		wrap(out, "    says  ", e.By)
		wrap(out, "    why   ", e.Cause)
		wrap(out, "    fix   ", e.Fix)
		if len(e.Checks) > 0 {
			wrap(out, "    find  ", "doctor -config wif.json, and look for "+strings.Join(e.Checks, ", "))
		}
	}
	if stage != "" {
		fmt.Fprintln(out)
		wrap(out, "", stage)
	}
}

// wrap prints a text after its label, in lines of width, each further one under
// the first one's beginning.
func wrap(out io.Writer, label, text string) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(label))
	for i, paragraph := range strings.Split(text, "\n") {
		line := indent
		if i == 0 {
			line = label
		}
		empty := true
		words := strings.Fields(paragraph)
		if strings.HasPrefix(paragraph, " ") { // CEL's caret stands under its place
			words = []string{paragraph}
		}
		for _, word := range words {
			if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
				fmt.Fprintln(out, line)
				line, empty = indent, true
			}
			if !empty {
				line += " "
			}
			line += word
			empty = false
		}
		fmt.Fprintln(out, line)
	}
}
