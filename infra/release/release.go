package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/devops-dashboard/dashboard/shared/function/stage"
)

// steps are the shares that a revision gets before all of it, in percent.
var steps = []int64{10, 50}

// release is one function on its way.
type release struct {
	options
	world
	routes []string // that anybody may ask for
	out    io.Writer

	before, candidate string
	began             time.Time
	touched           bool // the traffic may have been changed
	latest            bool // it may go to whichever revision is the latest
	asked             ask  // nil where the candidate cannot be asked
}

func (r *release) say(format string, args ...any) {
	fmt.Fprintf(r.out, r.function+": "+format+"\n", args...)
}

// run deploys, proves and promotes. Every error after the deployment ends with the
// traffic where it was, or with a line that says by which command it gets there.
func (r *release) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.limit(), fmt.Errorf("it took longer than %s", r.limit()))
	defer cancel()
	if err := r.settle(ctx); err != nil {
		r.say("not deployed: %v", err)
		return err
	}
	r.began = r.now()
	if err := r.deploy(ctx); err != nil {
		r.say("not deployed: %v", err)
		r.say("%s serves as before: whatever was built gets no traffic", r.before)
		return err
	}
	err := r.promote(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		r.say("%s is not good enough: %v", r.candidate, err)
		return errors.Join(err, r.rollBack(ctx))
	}
	r.say("%s serves, and the next release begins from it", r.candidate)
	return nil
}

// limit is how long all of it may take. The pipelines end a job after an hour and leave
// no time to go back then: ten minutes of it are for that, and five for what comes before.
func (r *release) limit() time.Duration { return 30*time.Minute + time.Duration(len(steps)+1)*r.watch }

// settle finds the revision that serves. Where a release was cut off it first sends
// back the traffic, which nobody has watched since.
func (r *release) settle(ctx context.Context) error {
	s, err := r.describe(ctx)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(s.shares))
	switch {
	case len(names) == 0:
		return errors.New("no revision serves: apply Terraform first, which makes the service with one that does")
	case len(names) == 1:
		r.before = names[0]
		return nil
	case len(names) > 2 || s.shares[s.tagged] == 0:
		return fmt.Errorf("the traffic is shared as %s, which no release left behind: send it to one of them first: gcloud %s", s.shares, strings.Join(r.shifting("--to-revisions=REVISION=100"), " "))
	}
	r.candidate = s.tagged
	r.before = names[0]
	if r.before == r.candidate {
		r.before = names[1]
	}
	r.say("a release was cut off when %s had %d %% of the traffic", r.candidate, s.shares[r.candidate])
	return r.rollBack(ctx)
}

func (r *release) deploy(ctx context.Context) error {
	// The build has a time limit of its own, which is shorter.
	ctx, cancel := context.WithTimeout(ctx, 25*time.Minute)
	defer cancel()
	created, err := r.gcloud(ctx, slices.Concat([]string{"run", "deploy"}, r.at(), []string{
		"--source=" + r.source, "--function=" + stage.Target(r.function), "--base-image=go126", "--automatic-updates",
		fmt.Sprintf("--build-service-account=projects/%[1]s/serviceAccounts/builder@%[1]s.iam.gserviceaccount.com", r.project),
		"--set-build-env-vars=^;^GOOGLE_GOLDFLAGS=-s -w -X github.com/devops-dashboard/dashboard/shared/function.release=" + r.commit + ";GOOGLE_CLEAR_SOURCE=true;GOFLAGS=-tags=" + stage.Tags,
		"--no-traffic", "--format=value(status.latestCreatedRevisionName)", "--quiet",
	})...)
	if err != nil {
		return err
	}
	if created == "" || strings.ContainsAny(created, " \n") || created == r.before {
		return fmt.Errorf("gcloud names no new revision but %q", created)
	}
	r.candidate = created
	r.say("%s is built, gets no traffic, and is to replace %s", r.candidate, r.before)
	return nil
}

// promote asks the candidate, and then sends it more and more for as long as it
// answers well.
func (r *release) promote(ctx context.Context) error {
	// Not with the deployment: for a tag gcloud gives the revision a name, which stays in
	// the service, and the next one that Terraform makes would be refused for having it.
	if err := r.shift(ctx, "--update-tags="+tag+"="+r.candidate); err != nil {
		return err
	}
	s, err := r.unchanged(ctx, shares{r.before: 100})
	if err != nil {
		return err
	}
	if s.ready != r.candidate {
		return errors.New("it is not ready, says Cloud Run")
	}
	if err := r.smoke(ctx, s); err != nil {
		return err
	}
	// Whoever could not see how it does would have to roll back anyway.
	if _, _, err := r.counted(ctx); err != nil {
		return err
	}
	now := shares{r.before: 100}
	for _, step := range steps {
		next := shares{r.before: 100 - step, r.candidate: step}
		if err := r.step(ctx, now, next, "--to-revisions="+next.String()); err != nil {
			return err
		}
		now = next
	}
	// To the latest and not by its name: a change of settings by Terraform makes a
	// revision too, and is to be served.
	r.latest = true
	return r.step(ctx, now, shares{r.candidate: 100}, "--to-latest")
}

// step goes from one share to the next, unless somebody else has changed something,
// and watches what comes of it.
func (r *release) step(ctx context.Context, now, next shares, flag string) error {
	if _, err := r.unchanged(ctx, now); err != nil {
		return err
	}
	r.touched = true
	if err := r.shift(ctx, flag); err != nil {
		return err
	}
	if _, err := r.unchanged(ctx, next); err != nil {
		return err
	}
	r.say("%s gets %d %% of the traffic", r.candidate, next[r.candidate])
	return r.observe(ctx)
}

// unchanged describes the service and fails where somebody else deploys it too.
func (r *release) unchanged(ctx context.Context, want shares) (service, error) {
	s, err := r.describe(ctx)
	switch {
	case err != nil:
		return s, err
	case s.latest != r.candidate || s.tagged != r.candidate:
		return s, fmt.Errorf("somebody else has deployed %s meanwhile: run one release after the other", s.latest)
	case !maps.Equal(s.shares, want):
		return s, fmt.Errorf("somebody else has moved the traffic: it is %s and should be %s", s.shares, want)
	}
	return s, nil
}

// rollBack sends all traffic to the revision before, also when the release itself is
// told to stop, and looks whether it went there. What somebody else did with the
// traffic stays.
func (r *release) rollBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
	defer cancel()
	back := shares{r.before: 100}
	mine := func(s service) bool {
		return s.shares[r.before]+s.shares[r.candidate] == 100 || r.touched && r.latest && s.shares[s.latest] == 100
	}
	err := r.again(ctx, func() error {
		s, err := r.describe(ctx)
		switch {
		case err != nil:
			return err
		case !mine(s):
			r.say("the traffic is %s by now, which is somebody else's doing and stays", s.shares)
			return nil
		case !r.touched && maps.Equal(s.shares, back):
			r.say("%s serves as before", r.before)
			return nil
		}
		// Also where it looks as before: a change whose answer was lost may yet arrive,
		// and is refused once there is a later one.
		r.touched = true
		if err := r.shift(ctx, "--to-revisions="+back.String()); err != nil {
			return err
		}
		if s, err = r.describe(ctx); err != nil {
			return err
		}
		if !maps.Equal(s.shares, back) {
			return fmt.Errorf("the traffic is %s", s.shares)
		}
		r.touched = false
		r.say("rolled back: %s gets all of the traffic", r.before)
		return nil
	})
	if err != nil {
		r.say("ROLL-BACK FAILED: %v", err)
		r.say("%s MAY STILL GET TRAFFIC. Run this by hand, now: gcloud %s", r.candidate, strings.Join(r.shifting("--to-revisions="+back.String()), " "))
	}
	return err
}
