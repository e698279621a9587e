package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	cloudrun "google.golang.org/api/run/v1"
)

// tag is the name under which a revision can be asked before it gets traffic.
const tag = "candidate"

// most is how long gcloud may take for anything but a build.
const most = 2 * time.Minute

// shares says which revision gets how many of a hundred requests.
type shares map[string]int64

func (s shares) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		all = append(all, fmt.Sprintf("%s=%d", name, s[name]))
	}
	return strings.Join(all, ",")
}

// service is what Cloud Run says of a function.
type service struct {
	url, tagged, tagURL    string // the address, and the candidate's
	latest, ready, ingress string
	shares                 shares
}

// at names the service as gcloud wants it.
func (o options) at() []string {
	return []string{o.function, "--project=" + o.project, "--region=" + o.region}
}

// describe asks Cloud Run for the service, as it is once a change of it is done.
func (r *release) describe(ctx context.Context) (service, error) {
	var s service
	err := r.again(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		text, err := r.gcloud(ctx, slices.Concat([]string{"run", "services", "describe"}, r.at(), []string{"--format=json"})...)
		if err != nil {
			return err
		}
		s, err = read(text)
		return err
	})
	return s, err
}

func read(text string) (service, error) {
	var told cloudrun.Service
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		return service{}, fmt.Errorf("gcloud describes no service: %w", err)
	}
	if told.Metadata == nil || told.Status == nil {
		return service{}, errors.New("gcloud describes a service without a state")
	}
	if told.Status.ObservedGeneration != told.Metadata.Generation {
		return service{}, errors.New("a change of the service is still under way")
	}
	s := service{
		url: told.Status.Url, latest: told.Status.LatestCreatedRevisionName, ready: told.Status.LatestReadyRevisionName,
		ingress: told.Metadata.Annotations["run.googleapis.com/ingress"], shares: shares{},
	}
	for _, t := range told.Status.Traffic {
		if t.Percent > 0 {
			s.shares[t.RevisionName] += t.Percent
		}
		if t.Tag == tag {
			s.tagged, s.tagURL = t.RevisionName, t.Url
		}
	}
	return s, nil
}

// reachable tells whether a revision can be asked under its tag. Behind the load
// balancer Cloud Run takes requests from nowhere else.
func (s service) reachable() bool { return (s.ingress == "" || s.ingress == "all") && s.tagURL != "" }

// shift sends the traffic where flag says. Whether it did is not known when there is
// an error.
func (r *release) shift(ctx context.Context, flag string) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	_, err := r.gcloud(ctx, r.shifting(flag)...)
	return err
}

func (r *release) shifting(flag string) []string {
	return slices.Concat([]string{"run", "services", "update-traffic"}, r.at(), []string{flag, "--quiet"})
}
