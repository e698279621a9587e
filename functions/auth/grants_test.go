package auth_test

import (
	"fmt"
	"net/http"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestEachGrantIsNeeded(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	old, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	accounts := 0
	pgtest.ForEveryGrant(t, f.db.Config().ConnString(), auth.Function, func() bool {
		accounts++
		address := fmt.Sprintf("ada%d@example.com", accounts)
		first := register(t, handler, ada("email", address))
		if first.Status != http.StatusCreated {
			return false
		}
		f.exec(t, `UPDATE users SET password_hash = $1 WHERE email = $2`, string(old), address) // is replaced at sign-in
		second := login(t, handler, address, password, cookie(first.Cookie))
		if second.Status != http.StatusOK || login(t, handler, address, "another").Status != http.StatusUnauthorized {
			return false
		}
		token := second.Body.AccessToken
		all, listed := sessions(t, handler, token)
		third := changePassword(t, handler, token, password, password+", or longer")
		token = third.Body.AccessToken
		return listed.Status == http.StatusOK && len(all) == 1 && third.Status == http.StatusOK &&
			me(t, handler, bearer(token)).Status == http.StatusOK &&
			endSession(t, handler, token, all[0].ID).Status == http.StatusNoContent &&
			logoutEverywhere(t, handler, token).Status == http.StatusNoContent &&
			logout(t, handler, cookie(third.Cookie)).Status == http.StatusNoContent
	})
}
