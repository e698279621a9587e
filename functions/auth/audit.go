package auth

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// auditLog is what happened in a team.
type auditLog struct{ teams }

func (l auditLog) route(api *httpapi.API) {
	httpapi.Register(api, access.For(huma.Operation{
		OperationID: "audit", Method: http.MethodGet, Path: "/api/auth/teams/{team}/audit", Security: httpapi.Bearer,
		Tags: []string{"teams"}, Summary: "Show what happened in a team",
		Description: "The newest first, by pages. Who asks for text/csv gets that, with the next page in the header Link.",
		Errors:      append([]int{http.StatusUnprocessableEntity}, onTeam...),
	}, access.Owner), l.list)
}

// Events are a page of the audit log.
type Events struct {
	Events []Event `json:"events" nullable:"false"`
	Next   *string `json:"next" doc:"The before of the page that follows; null when there is none."`
}

// Event is one thing that happened.
type Event struct {
	ID     int64           `json:"id"`
	At     time.Time       `json:"at"`
	Kind   string          `json:"kind" example:"role_changed"`
	By     *EventActor     `json:"by" doc:"Who did it; null for an operator."`
	Detail json.RawMessage `json:"detail" doc:"What it was done to, by kind."`
}

// EventActor is who did something.
type EventActor struct {
	ID   string `json:"id" format:"uuid"`
	Name string `json:"name" doc:"Empty if there is no such account any more."`
}

type auditInput struct {
	TeamInput
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	Before int64  `query:"before" minimum:"1" doc:"The next of an earlier page. By default the newest."`
	Accept string `header:"Accept" hidden:"true"`
}

type auditOutput struct {
	ContentType string `header:"Content-Type"`
	Link        string `header:"Link"`
	Body        any
}

func (l auditLog) list(ctx context.Context, in *auditInput) (*auditOutput, error) {
	found, err := l.events(ctx, in)
	if err != nil {
		return nil, err
	}
	page := Events{Events: found}
	if len(found) > in.Limit {
		page.Events = found[:in.Limit]
		next := strconv.FormatInt(page.Events[in.Limit-1].ID, 10)
		page.Next = &next
	}
	if !strings.Contains(in.Accept, "text/csv") {
		return &auditOutput{Body: page}, nil
	}
	out := &auditOutput{ContentType: "text/csv; charset=utf-8; header=present", Body: page.csv()}
	if page.Next != nil {
		out.Link = "</api/auth/teams/" + in.Team.String() + "/audit?limit=" + strconv.Itoa(in.Limit) + "&before=" + *page.Next + ">; rel=\"next\""
	}
	return out, nil
}

// events returns one more than are asked for, if there are more.
func (l auditLog) events(ctx context.Context, in *auditInput) ([]Event, error) {
	return listInTeam(ctx, l.teams, in.Team, `
	SELECT e.id, e.at, e.kind, e.user_id::text, COALESCE(u.name, ''), e.detail
	FROM team JOIN auth_events e ON e.team_id = team.id LEFT JOIN users u ON u.id = e.user_id
	WHERE @before::bigint = 0 OR e.id < @before
	ORDER BY e.id DESC LIMIT @limit`, pgx.NamedArgs{"before": in.Before, "limit": in.Limit + 1}, func(row pgx.CollectableRow) (e Event, err error) {
		var by *string
		var name string
		err = row.Scan(&e.ID, &e.At, &e.Kind, &by, &name, &e.Detail)
		if by != nil {
			e.By = &EventActor{*by, name}
		}
		e.At = e.At.UTC()
		return e, err
	})
}

// csv returns the page as a table with a line of names (RFC 4180).
func (e Events) csv() []byte {
	var text strings.Builder
	w := csv.NewWriter(&text)
	w.UseCRLF = true
	_ = w.Write([]string{"id", "at", "kind", "by", "by_name", "detail"}) // to memory
	for _, one := range e.Events {
		by := EventActor{}
		if one.By != nil {
			by = *one.By
		}
		_ = w.Write([]string{strconv.FormatInt(one.ID, 10), one.At.Format(time.RFC3339Nano), one.Kind, by.ID, cell(by.Name), string(one.Detail)})
	}
	w.Flush()
	return []byte(text.String())
}

// cell keeps what a person chose from being a formula where the table is opened.
func cell(text string) string {
	if strings.ContainsAny(text[:min(1, len(text))], "=+-@\t\r") {
		return "'" + text
	}
	return text
}
