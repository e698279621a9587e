package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/iamcredentials/v1"
	"google.golang.org/api/monitoring/v3"
	"google.golang.org/api/option"

	"github.com/devops-dashboard/dashboard/shared/function"
)

const (
	// lag is how late Cloud Monitoring may be: it samples each minute, and shows a
	// sample within three more.
	lag = 4 * time.Minute
	// pause lies between two looks at a revision.
	pause = time.Minute
	// A revision is bad that answered so many requests with 5xx, and so many of a
	// hundred. One or two are what an instance that starts or ends may cost.
	leastFailures, worstShare = 3, 5
)

// ask asks the candidate for a path.
type ask func(ctx context.Context, path string) (status int, body []byte, err error)

// smoke asks the candidate for its commit and for all that anybody may ask of it.
func (r *release) smoke(ctx context.Context, s service) error {
	if !s.reachable() {
		r.say("behind the load balancer %s cannot be asked; Cloud Run has started it, and its first %d %% will tell", r.candidate, steps[0])
		return nil
	}
	token, err := r.identity(ctx, s.url)
	if err != nil {
		return err
	}
	r.asked = asking(r.transport, s.tagURL, token)
	if err := r.alive(ctx); err != nil {
		return err
	}
	for _, path := range r.routes {
		err := r.again(ctx, func() error {
			status, _, err := r.asked(ctx, path)
			if err == nil && status >= 500 {
				err = fmt.Errorf("GET %s is answered %d", path, status)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	r.say("%s answers as commit %.7s, and %d of its routes do", r.candidate, r.commit, len(r.routes))
	return nil
}

// alive asks the candidate which functions it serves, at which commit.
func (r *release) alive(ctx context.Context) error {
	return r.again(ctx, func() error {
		status, body, err := r.asked(ctx, function.LivePath)
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			return fmt.Errorf("GET %s is answered %d", function.LivePath, status)
		}
		var live struct {
			Functions []string
			Release   string
		}
		if err := json.Unmarshal(body, &live); err != nil || !slices.Equal(live.Functions, []string{r.function}) || live.Release != r.commit {
			return fmt.Errorf("GET %s says %.200q, which is not %s of commit %s", function.LivePath, body, r.function, r.commit)
		}
		return nil
	})
}

func asking(transport http.RoundTripper, url, token string) ask {
	client := &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		// The token is for this address alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, path string) (int, []byte, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			return 0, nil, err
		}
		// Not Authorization, which is for the function itself.
		request.Header.Set("X-Serverless-Authorization", "Bearer "+token)
		answer, err := client.Do(request)
		if err != nil {
			return 0, nil, err
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		return answer.StatusCode, body, err
	}
}

// google is a client of Google's own services, as the account that gcloud is signed
// in with.
func (r *release) google(ctx context.Context) (option.ClientOption, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	token, err := r.gcloud(ctx, "auth", "print-access-token", "--quiet")
	if err != nil {
		return nil, err
	}
	return option.WithHTTPClient(&http.Client{Timeout: 30 * time.Second, Transport: &oauth2.Transport{
		Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token}), Base: r.transport,
	}}), nil
}

// identity returns a token that says to the service at url that the deployer asks.
// The same way works in GitHub and in Cloud Build.
func (r *release) identity(ctx context.Context, url string) (string, error) {
	account := fmt.Sprintf("deploy-%s@%s.iam.gserviceaccount.com", r.function, r.project)
	token := ""
	err := r.again(ctx, func() error {
		client, err := r.google(ctx)
		if err != nil {
			return err
		}
		service, err := iamcredentials.NewService(ctx, client)
		if err != nil {
			return err
		}
		answer, err := service.Projects.ServiceAccounts.GenerateIdToken("projects/-/serviceAccounts/"+account,
			&iamcredentials.GenerateIdTokenRequest{Audience: url, IncludeEmail: true}).Context(ctx).Do()
		if err != nil {
			return fmt.Errorf("%w: %s needs roles/iam.serviceAccountOpenIdTokenCreator on itself, which Terraform gives", err, account)
		}
		token = answer.Token
		if token == "" {
			return errors.New("an empty ID token was issued")
		}
		return nil
	})
	return token, err
}

// observe watches the candidate for a while: it must answer, and few of the requests
// that it got may have failed. Where that cannot be seen it counts as failed: our own
// questions, which went before, must show as well.
func (r *release) observe(ctx context.Context) error {
	for end := r.now().Add(r.watch); ; {
		if r.asked != nil {
			if err := r.alive(ctx); err != nil {
				return err
			}
		}
		requests, failed, err := r.counted(ctx)
		if err != nil {
			return err
		}
		if failed >= leastFailures && failed*100 >= requests*worstShare {
			return fmt.Errorf("it answered %d of %d requests with 5xx", failed, requests)
		}
		blind := requests == 0 && r.asked != nil
		switch now := r.now(); {
		case blind && !now.Before(end.Add(lag)):
			return errors.New("none of our own requests to it shows in Cloud Monitoring, and so no failure would")
		case !blind && !now.Before(end):
			r.say("%s answered %d requests by now, %d with 5xx", r.candidate, requests, failed)
			return nil
		}
		if err := r.wait(ctx, pause); err != nil {
			return err
		}
	}
}

// counted returns how many requests the candidate has answered, and how many of them
// with 5xx, as far as Cloud Monitoring shows.
func (r *release) counted(ctx context.Context) (requests, failed int64, err error) {
	err = r.again(ctx, func() error {
		requests, failed = 0, 0
		client, err := r.google(ctx)
		if err != nil {
			return err
		}
		service, err := monitoring.NewService(ctx, client)
		if err != nil {
			return err
		}
		call := service.Projects.TimeSeries.List("projects/" + r.project).
			Filter(fmt.Sprintf(`metric.type = "run.googleapis.com/request_count" AND resource.type = "cloud_run_revision" AND resource.labels.location = %q AND resource.labels.service_name = %q AND resource.labels.revision_name = %q`,
				r.region, r.function, r.candidate)).
			IntervalStartTime(r.began.UTC().Format(time.RFC3339)).
			IntervalEndTime(r.now().UTC().Format(time.RFC3339))
		err = call.Pages(ctx, func(page *monitoring.ListTimeSeriesResponse) error {
			for _, series := range page.TimeSeries {
				for _, point := range series.Points {
					if point.Value == nil || point.Value.Int64Value == nil || series.Metric == nil {
						return errors.New("what Cloud Monitoring counts is no number")
					}
					requests += *point.Value.Int64Value
					if series.Metric.Labels["response_code_class"] == "5xx" {
						failed += *point.Value.Int64Value
					}
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("count the requests: %w: deploy-%s needs monitoring.timeSeries.list, which Terraform gives", err, r.function)
		}
		return nil
	})
	return requests, failed, err
}
