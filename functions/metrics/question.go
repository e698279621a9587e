package metrics

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Question is what every figure over time is asked with.
type Question struct {
	Service     uuid.UUID `query:"service" format:"uuid" required:"true" doc:"A service of one of your teams."`
	Environment string    `query:"environment" default:"production" minLength:"1" maxLength:"200" doc:"The name of one of its environments."`
	From        string    `query:"from" format:"date" doc:"The first day, local to the team. By default the Monday 11 weeks before the week of to."`
	To          string    `query:"to" format:"date" doc:"The last day, included. By default today. At most five years after from."`
	Bucket      string    `query:"bucket" default:"week" enum:"day,week,month" doc:"What the range is cut into. Weeks begin on Monday."`
}

// args are the question's values for a statement that reads days of s.
func (q *Question) args(s span) pgx.NamedArgs {
	return pgx.NamedArgs{"service": q.Service, "environment": q.Environment, "from": s.from, "to": s.to}
}

// Series says what figures over time are about.
type Series struct {
	Service     uuid.UUID `json:"service" format:"uuid"`
	Environment string    `json:"environment"`
	TimeZone    string    `json:"time_zone" doc:"Where days begin."`
	From        string    `json:"from" format:"date"`
	To          string    `json:"to" format:"date" doc:"The last day, included."`
	Bucket      string    `json:"bucket" enum:"day,week,month"`
}

func (q *Question) series(where place, s span) Series {
	return Series{q.Service, q.Environment, where.timeZone, formatDay(s.from), formatDay(s.to), q.Bucket}
}

// Period is one bucket of a range.
type Period struct {
	Start    string `json:"start" format:"date"`
	End      string `json:"end" format:"date" doc:"The last day, included."`
	Complete bool   `json:"complete" doc:"Whether all of the day, week or month is in the range and over."`
}

func (p period) answer() Period { return Period{formatDay(p.from), formatDay(p.to), p.complete} }
