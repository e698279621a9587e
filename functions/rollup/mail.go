package rollup

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/mail"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// mailer sends what is put down. Whoever puts it down does not wait for a mail
// server, and cannot: on Cloud Run nothing goes on after an answer.
type mailer struct {
	db     *postgres.Database
	now    func() time.Time
	sender *mail.Sender // nil where no mail is sent
	origin string
}

// Mailing is what one call sent.
type Mailing struct {
	Sent    int `json:"sent"`
	Refused int `json:"refused" doc:"What the mail server does not take, and would not another time."`
}

func (m mailer) route(api *httpapi.API) {
	httpapi.Register(api, huma.Operation{
		OperationID: "mail", Method: http.MethodPost, Path: "/api/rollup/mail", Security: httpapi.Scheduler,
		Tags: []string{"rollup"}, Summary: "Send the mail that is due",
		Description: "What the mail server does not take now is tried again, six times within an hour. What was sent by a call that died before it could say so is sent twice.",
		Errors:      []int{http.StatusServiceUnavailable},
	}, m.send)
}

type mailed struct{ Body Mailing }

func (m mailer) send(ctx context.Context, _ *struct{}) (*mailed, error) {
	out := &mailed{}
	if m.sender == nil {
		return out, nil
	}
	if err := closeMails(ctx, m.db); err != nil {
		return nil, err
	}
	for until := m.now().Add(workTime); m.now().Before(until); {
		// What opens an account is made when it is sent, and kept nowhere.
		secret := access.NewSecret(access.LinkPrefix)
		due, err := takeMail(ctx, m.db, access.DigestOf(secret))
		if err != nil || due == nil {
			return out, err
		}
		refused, became := mail.Refused{}, "mail_sent"
		err = m.sender.Send(ctx, due.letter(m.origin, secret))
		switch {
		case errors.As(err, &refused):
			out.Body.Refused++
			became = "mail_refused"
		case err != nil:
			// The letter is due again later. The others wait for the next call, which
			// finds out whether the server is back.
			return nil, fault.Away("the mail server", err)
		default:
			out.Body.Sent++
		}
		if err := settleMail(ctx, m.db, due.id, became); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// letter is what somebody reads.
func (d dueMail) letter(origin, secret string) mail.Letter {
	if d.kind == "password_changed" {
		return mail.Letter{To: d.to, Subject: "Your password was changed", Text: "The password of your account at " + origin + " was changed on " +
			d.at.UTC().Format("2 January 2006 at 15:04") + " UTC.\n\n" +
			"If that was not you, ask for another password on the page where you sign in, at once, and tell an owner of your team.\n"}
	}
	return mail.Letter{To: d.to, Subject: "Set a new password", Text: "Somebody asked for a new password for your account at " + origin + ".\n\n" +
		"If that was you, set one within an hour, here:\n\n" + origin + "/#password=" + secret + "\n\n" +
		"If it was not, there is nothing to do: your password stays what it is.\n"}
}
