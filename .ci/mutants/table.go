package main

import "slices"

// The tests that are to notice. The model knows no statement: what it finds, it
// finds from outside.
var (
	model     = tests{"the model", "./functions", "^TestSessionsKeepTheirPromises$", true}
	histories = tests{"the histories", "./functions", "^TestHistoriesAreLinear$", false}
	races     = tests{"the races", "./functions", "^(TestSignInWhileAllSessionsEnd|TestRefreshWaitsForTheEndOfItsSession|TestTheEndOfASessionWaitsForARefresh|TestTwoChangeThePassword)$", false}
	rotation  = tests{"the verdicts", "./functions/refresh", "^(TestRefreshRotates|TestSessionEndsAtItsAbsoluteExpiry|TestVerdicts|TestGrace|TestNoMoreThanSixteen)", false}
	waiting   = tests{"those that wait", "./functions/refresh", "^(TestWaiterSeesWhatItWaitedFor|TestStormConverges)$", false}
	outages   = tests{"the outages", "./functions/refresh", "^TestRefreshWithoutDatabase$", false}
	killed    = tests{"those killed", "./functions/refresh", "^TestInstanceKilledBetweenCommitAndAnswer$", false}
	logins    = tests{"the sign-ins", "./functions/auth", "^(TestLoginWhileTheAccountChanges|TestLoginRefusesAllAlike|TestRegisterOpensAnAccount)$", false}
	changes   = tests{"the changes of a password", "./functions/auth", "^(TestPasswordChangeWhileTheAccountChanges|TestPasswordChangesAtOnce|TestCallsWantALivingSession)$", false}
	timing    = tests{"the time of refusals", "./functions/auth", "^TestTimeTellsNothingOfAccounts$", false}
	tokens    = tests{"the tokens", "./shared/identity", "^(TestAccessToken|TestRefreshToken|TestIssuers|TestKeys|TestSmallOrder|TestCookieInput|TestGrant|TestClearCookie|TestSigner)", false}
	limits    = tests{"the limits", "./shared/ratelimit", "^Test(Al|An|At|[B-LO-Z]|NothingOf)", true}
	memories  = tests{"what an instance holds", "./shared/ratelimit", "^TestMemory", false}
	seen      = tests{"what is seen", "./functions/auth", "AreWhatOneSees$", false}
	attempts  = tests{"the attempts", "./functions/auth", "^Test(Attempts|Device|Registrations|FailedSignIns)", false}
	door      = tests{"the front door", "./functions/web/door", ".", true}
	frames    = tests{"the frame", "./shared/httpapi", ".", false}
	changed   = tests{"what has changed", "./infra/changed", ".", false}
	releases  = tests{"the releases", "./infra/release", "^Test[^G]", true} // without gcloud, which takes its time
	archives  = tests{"the dumps", "./infra/backup/archive", ".", false}
	rebuilds  = tests{"the rebuild", "./functions/rollup/rebuild", ".", false}
	bootstrap = tests{"the bootstrap", "./infra/bootstrap", ".", false}
	migrating = tests{"the migrate job", "./migrations/migrate", "^TestTheAddressMayBeASecret$", false}
	doctor    = tests{"the doctor's changes", "./infra/doctor/diagnosis", "^Test", false}
	answers   = tests{"the doctor's answers", "./infra/doctor/command", "^Test", false}
	workflows = tests{"the workflows", "./infra/doctor/workflow", "^Test", false}
	claims    = tests{"the claims", "./infra/doctor/token", "^Test", false}
	uplinks   = tests{"the way to collectors", "./shared/uplink", ".", false}
	reports   = tests{"the reports", "./shared/errorreport", ".", false}
	traces    = tests{"the traces", "./shared/tracing", ".", false}
	observed  = tests{"who is told", "./shared/function", "^Test(FailuresAndTraces|NobodyIsTold|WrongObservers|TheEnd)", false}
	faults    = tests{"the faults of a database", "./shared/postgres", "^(TestFault|TestRefusedLogin|TestEachBrokenStep|TestConnectionThatTakesNoWrites)", false}
	dialling  = tests{"the dialling of Cloud SQL", "./shared/postgres", "^TestCloudSQL(IsDialled|ProxyIsAway)", false}
	scheduled = tests{"the scheduler's guard", "./shared/scheduler", ".", false}
	published = tests{"the published keys", "./shared/jwks", ".", false}
	jobs      = tests{"the tokens of jobs", "./shared/workflow", "^Test", false}
	bound     = tests{"what statements bind", "./shared/access", "^Test", false}
	reported  = tests{"the reports", "./functions/metrics", "^Test(AReport|Reports[ACc]|WhoMay|Which|What|AJob|AToken|ARefusal|Several|Environments)", false}
	imported  = tests{"the imports", "./functions/dev/history", "^TestReportsAreLeftAlone$", false}
	trusting  = tests{"the trust in repositories", "./functions/auth", "^Test(A|Rep).*(Repositor|Trust)", false}
	pruned    = tests{"the pruning", "./functions/rollup", "^TestPrune", false}
	simulated = tests{"the scheduler's calls", "./functions/rollup", "^(TestCallsOfTheScheduler|TestOnlyTheJobs)", true}
	teams     = tests{"the teams", "./functions/auth", "^Test(ATeam|Owners|AnInvitation|Links|ALink|ANew|PasswordLinks|Nobody|Nothing|Deleting|Who|AnAPIToken|AnAccount|TheAudit|TeamsHave)", false}
	doors     = tests{"the doors", "./functions", "^TestEveryDoorKnowsItsPeople$", false}
	holders   = tests{"the API tokens", "./functions/metrics", "^TestAToken", false}
	forgotten = tests{"the forgotten passwords", "./functions/auth", "^(TestForgotten|TestTimeTellsNothingOfForgotten|TestAChanged)", false}
	github    = tests{"those from GitHub", "./functions/auth", "^TestGitHub[^I]", false}
	posted    = tests{"the mail", "./functions/rollup", "^Test(No)?Mail", false}
	letters   = tests{"the letters", "./shared/mail", ".", false}
	reading   = tests{"the reading of secrets", "./shared/secrets", ".", false}
)

const (
	rotateFile   = "functions/refresh/rotate.go"
	refreshFile  = "functions/refresh/sessions.go"
	sessionsFile = "functions/auth/sessions.go"
	usersFile    = "functions/auth/users.go"
	loginFile    = "functions/auth/login.go"
	tokenFile    = "shared/identity/token.go"
	signerFile   = "shared/identity/signer.go"
	cookieFile   = "shared/identity/cookie.go"
	objectFile   = "shared/identity/object.go"
	pruneFile    = "functions/rollup/sessions.go"

	calleeFile    = "functions/web/door/callee.go"
	doorTokenFile = "functions/web/door/token.go"
)

// one is a mutant of one edit.
func one(file, why, from, to string, by tests) mutant {
	return mutant{why: why, file: file, edits: []edit{{from, to}}, tests: by}
}

var mutants = slices.Concat(refreshMutants, authMutants, teamMutants, identityMutants, otherMutants, doorMutants, doctorMutants, operatingMutants, outageMutants, observedMutants)

// refreshMutants break the statement that rotates, and what is said of its
// verdict. A parameter that a mutant has no use for is kept, or PostgreSQL would
// refuse the statement before any test looked at it.
var refreshMutants = []mutant{
	one(refreshFile, "no row is locked", "     FOR UPDATE OF s\n", "", waiting),
	one(refreshFile, "no row is locked, as the history of many shows", "     FOR UPDATE OF s\n", "", histories),
	one(refreshFile, "the time is that before the wait", "cur.*, clock_timestamp() AS ts", "cur.*, now() AS ts", waiting),
	one(refreshFile, "the grace is a moment longer", "AND ts < superseded[", "AND ts <= superseded[", rotation),
	one(refreshFile, "a session is good for a moment longer", "WHEN ts >= expires_at ", "WHEN ts > expires_at ", rotation),
	one(refreshFile, "the grace is a second longer", "grace = 30 * time.Second", "grace = 31 * time.Second", rotation),
	one(refreshFile, "the grace is a second shorter", "grace = 30 * time.Second", "grace = 29 * time.Second", rotation),
	one(refreshFile, "fifteen generations are remembered", "remembered = 16", "remembered = 15", rotation),
	one(refreshFile, "fifteen generations are remembered, as the model sees it", "remembered = 16", "remembered = 15", model),
	one(refreshFile, "the oldest generation that is remembered has no grace", "<= cardinality(superseded)", "< cardinality(superseded)", rotation),
	one(refreshFile, "a replay prolongs the grace", "), audit AS (", "), slides AS (\n  UPDATE sessions s SET superseded = array_fill(v.ts, ARRAY[cardinality(v.superseded)]) FROM v WHERE s.id = v.id AND v.verdict = 'converge'\n), audit AS (", rotation),
	one(refreshFile, "a replay prolongs the grace, as the model sees it", "), audit AS (", "), slides AS (\n  UPDATE sessions s SET superseded = array_fill(v.ts, ARRAY[cardinality(v.superseded)]) FROM v WHERE s.id = v.id AND v.verdict = 'converge'\n), audit AS (", model),
	one(refreshFile, "a converging caller writes", "), audit AS (", "), writes AS (\n  UPDATE sessions s SET gen = s.gen FROM v WHERE s.id = v.id AND v.verdict = 'converge'\n), audit AS (", model),
	one(refreshFile, "the grace counts from the last refresh", "superseded[(gen - $3::bigint)::int]", "superseded[1]", rotation),
	one(refreshFile, "the grace never ends", "AND ts < superseded[(gen - $3::bigint)::int] + $6::interval", "AND $6::interval IS NOT NULL", model),
	one(refreshFile, "a reuse ends nothing", "v.verdict IN ('rotate', 'reuse')", "v.verdict IN ('rotate')", rotation),
	one(refreshFile, "a reuse ends nothing, as the model sees it", "v.verdict IN ('rotate', 'reuse')", "v.verdict IN ('rotate')", model),
	one(refreshFile, "a reuse is not in the audit log", "FROM v WHERE v.verdict = 'reuse'", "FROM v WHERE v.verdict = 'never'", model),
	one(refreshFile, "a session that ended goes on", "WHEN revoked_at IS NOT NULL OR ", "WHEN ", model),
	one(refreshFile, "a disabled user goes on", " OR disabled_at IS NOT NULL", "", model),
	one(refreshFile, "a session of an old epoch goes on", " OR epoch <> session_epoch", "", races),
	one(refreshFile, "the user in the token counts for nothing", " AND s.user_id = $2::uuid", " AND $2::uuid IS NOT NULL", rotation),
	one(refreshFile, "a session outlives its absolute end", "LEAST(v.ts + $7::interval, v.absolute_expires_at)", "v.ts + $7::interval", rotation),
	one(refreshFile, "the token's id counts for nothing", "AND $4::uuid = jti ", "AND $4::uuid IS NOT NULL ", rotation),
	one(refreshFile, "a token from the future is taken for a replay", "THEN 'unknown'", "THEN 'reuse'", rotation),
	one(refreshFile, "a generation is left out", "v.gen + 1", "v.gen + 2", model),
	one(refreshFile, "a successor has its predecessor's id", "THEN $5::uuid ELSE v.jti", "THEN COALESCE(v.jti, $5::uuid) ELSE v.jti", model),
	one(refreshFile, "the graces are in the wrong order", "array_prepend(v.ts, v.superseded)", "array_append(v.superseded, v.ts)", model),
	one(refreshFile, "a successor is not issued anew", "THEN v.ts ELSE v.issued_at", "THEN v.issued_at ELSE v.issued_at", rotation),
	one(refreshFile, "the current token has the grace of none", "COALESCE(w.jti, v.jti) AS jti", "COALESCE(v.jti, w.jti) AS jti", rotation),
	one(rotateFile, "a caller whose answer was lost is refused", "case rotated, converged:", "case rotated:", killed),
	one(rotateFile, "a session that ended is a server's fault", "return fault.New(fault.Unauthenticated, code, detail)", "return fault.New(fault.Internal, code, detail)", rotation),
	one(rotateFile, "a database that is away signs out", "rotate(timed, r.db, token)\n\tif err != nil {\n\t\treturn nil, err", "rotate(timed, r.db, token)\n\tif err != nil {\n\t\treturn nil, unknown.fault()", outages),
	one(rotateFile, "an answer has no generation", "`json:\"gen\" doc", "`json:\"-\" doc", model),
	{why: "a refusal takes the cookie away", file: rotateFile, tests: rotation, edits: []edit{
		{"\"context\"\n", "\"context\"\n\t\"net/http\"\n"},
		{"\"github.com/devops-dashboard/dashboard/shared/fault\"\n", "\"github.com/danielgtaylor/huma/v2\"\n\n\t\"github.com/devops-dashboard/dashboard/shared/fault\"\n"},
		{"verdict.fault(); err != nil {\n\t\treturn nil, err", "verdict.fault(); err != nil {\n\t\treturn nil, huma.ErrorWithHeaders(err, http.Header{\"Set-Cookie\": {identity.ClearCookie()}})"},
	}},
}

// teamMutants break who may act for a team, and what they may do.
var teamMutants = []mutant{
	one("shared/access/teams.go", "any member may do anything", "m.user_id = @caller AND m.role = ANY (@roles::text[])", "m.user_id = @caller AND @roles::text[] IS NOT NULL", doors),
	one("shared/access/teams.go", "anybody acts for any team", "WHERE m.user_id = @caller AND m.role", "WHERE m.role", doors),
	one("shared/access/teams.go", "a token does what another scope may", "AND scope = @scope AND", "AND @scope::text IS NOT NULL AND", holders),
	one("shared/access/teams.go", "a token outlives its revocation", "AND revoked_at IS NULL AND expires_at > clock_timestamp()),\n\tused", "AND expires_at > clock_timestamp()),\n\tused", holders),
	one("shared/access/teams.go", "a token outlives its time", "AND revoked_at IS NULL AND expires_at > clock_timestamp()),\n\tused", "AND revoked_at IS NULL),\n\tused", holders),
	one("shared/access/teams.go", "a token writes at each use", "my_token.last_used_at < clock_timestamp() - interval '1 minute'", "true", holders),
	one("shared/access/protect.go", "a token goes where none may", "if caller.asks.scope == \"\" {", "if false {", doors),
	one("shared/access/protect.go", "a false checksum asks the database", "if !whole {", "if !whole && false {", holders),
	one("functions/auth/memberships.go", "the last owner leaves", "AND m.user_id = target.user_id AND (target.role <> 'owner' OR may.spare)\n\t\tRETURNING jsonb_build_object('role'", "AND m.user_id = target.user_id AND may.spare IS NOT NULL\n\t\tRETURNING jsonb_build_object('role'", teams),
	one("functions/auth/memberships.go", "the last owner is removed", "may.act AND (target.role <> 'owner' OR may.spare)\n", "may.act\n", teams),
	one("functions/auth/memberships.go", "the last owner becomes a viewer", "AND may.act AND (@role = 'owner' OR may.spare)", "AND may.act", teams),
	one("functions/auth/memberships.go", "owners who go at once see each other", "ORDER BY m.user_id FOR UPDATE),\n\ttarget", "ORDER BY m.user_id),\n\ttarget", teams),
	one("functions/auth/links.go", "a link is good twice", "AND l.secret_hash = ` + parameter + ` FOR UPDATE", "AND l.secret_hash = ` + parameter + `", teams),
	one("functions/auth/links.go", "a link outlives its time", " AND l.expires_at > clock_timestamp() AND CASE", " AND CASE", teams),
	one("functions/auth/links.go", "an invitation outlives its maker's role", "v.user_id = l.created_by AND v.role = 'owner')", "v.user_id = l.created_by)", teams),
	one("functions/auth/links.go", "a password link follows into other teams", "l.created_by IS NULL OR ` + ownsAllOf", "true OR ` + ownsAllOf", teams),
	one("functions/auth/account.go", "a deleted owner's link is an operator's", "SET revoked_at = clock_timestamp() WHERE created_by = $1", "SET revoked_at = NULL WHERE created_by = $1", teams),
	one("functions/auth/account.go", "an account goes after its password was set anew", " AND u.session_epoch = me.session_epoch FOR UPDATE", " FOR UPDATE", teams),
	one("functions/auth/password_link.go", "an access token is enough for another password", "if in.User == access.CallerOf(ctx).User {", "if false {", teams),
	one("functions/auth/links.go", "who accepts and who deletes wait for each other", "id = ` + about(\"team_id\") + ` FOR KEY SHARE", "id = ` + about(\"team_id\") + `", teams),
	one("functions/auth/links.go", "a link that was taken back is good", "l.used_at IS NULL AND l.revoked_at IS NULL AND", "l.used_at IS NULL AND", teams),
	one("functions/auth/links.go", "any link is an invitation", "WHERE link.good AND link.kind = 'invitation' AND joined.n", "WHERE link.good AND joined.n", teams),
	one("functions/auth/password_link.go", "an owner opens the teams of others", "WHERE may.act AND `+ownsAllOf(\"@caller\", \"target.user_id\")+`", "WHERE may.act", teams),
	one("functions/auth/password_link.go", "an older link stays good", "UPDATE links SET revoked_at = clock_timestamp() FROM l\n", "UPDATE links SET revoked_at = NULL FROM l\n", teams),
	one("functions/auth/password_link.go", "a new password leaves the sessions", "FROM s WHERE sessions.user_id = s.user_id AND sessions.revoked_at IS NULL", "FROM s WHERE false AND sessions.user_id = s.user_id AND sessions.revoked_at IS NULL", teams),
	one("functions/auth/account.go", "the last owner's account goes", "len(kept) > 0 {\n\t\t\treturn err", "len(kept) > 1000 {\n\t\t\treturn err", teams),
	one("functions/auth/account.go", "an account takes its teams along", "AND NOT EXISTS (SELECT FROM memberships o WHERE o.team_id = t.id AND o.user_id <> $1)\n), audit", "\n), audit", teams),
	one("functions/auth/audit.go", "a cell is a formula", `"=+-@\t\r"`, `"\t\r"`, teams),
	one("functions/auth/registration.go", "who has no link may register", "if link != \"\" || a.registration == openToAll {", "if true {", teams),
}

// authMutants break what opens and ends sessions.
var authMutants = []mutant{
	one(sessionsFile, "signing out everywhere leaves the rows", "FROM u WHERE sessions.user_id = u.id AND", "FROM u WHERE sessions.user_id = u.id AND false AND", model),
	one(sessionsFile, "signing out everywhere leaves the epoch", "session_epoch = users.session_epoch + 1", "session_epoch = users.session_epoch", races),
	one(usersFile, "another password leaves the rows", "FROM s WHERE sessions.user_id = s.user_id AND", "FROM s WHERE sessions.user_id = s.user_id AND false AND", model),
	one(usersFile, "another password leaves the epoch", "password_hash = $7, session_epoch = session_epoch + 1", "password_hash = $7", races),
	one(usersFile, "a change of password overwrites another", "WHERE id = $5 AND password_hash = $6 AND disabled_at IS NULL\n     AND EXISTS", "WHERE id = $5 AND $6::text IS NOT NULL AND disabled_at IS NULL\n     AND EXISTS", changes),
	one(usersFile, "a new hash overwrites another password", "WHERE id = $1 AND password_hash = $2`", "WHERE id = $1 AND $2::text IS NOT NULL`", logins),
	one(usersFile, "a disabled user's page goes on", "AND u.disabled_at IS NULL AND s.revoked_at IS NULL\n)", "AND s.revoked_at IS NULL\n)", changes),
	one(usersFile, "the page of a session that ended goes on", "AND u.disabled_at IS NULL AND s.revoked_at IS NULL\n)", "AND u.disabled_at IS NULL\n)", model),
	one(usersFile, "the page of a session of an old epoch goes on", "s.user_id = u.id AND s.epoch = u.session_epoch\n", "s.user_id = u.id\n", races),
	one(sessionsFile, "a sign-in takes a password that was changed meanwhile", "WHERE id = $5 AND password_hash = $6 AND disabled_at IS NULL", "WHERE id = $5 AND $6::text IS NOT NULL AND disabled_at IS NULL", logins),
	one(sessionsFile, "a sign-in takes a user who was disabled meanwhile", "WHERE id = $5 AND password_hash = $6 AND disabled_at IS NULL", "WHERE id = $5 AND password_hash = $6", logins),
	one(sessionsFile, "a session begins in the first epoch", "SELECT u.id, u.session_epoch, c.ts", "SELECT u.id, 0 * u.session_epoch, c.ts", model),
	one(sessionsFile, "signing in leaves the session before it", "FROM s WHERE sessions.id = ANY($4::text[]::uuid[]) AND", "FROM s WHERE sessions.id = ANY($4::text[]::uuid[]) AND false AND", model),
	one(sessionsFile, "signing out leaves the session", "WHERE id = ANY($1::text[]::uuid[]) AND revoked_at IS NULL", "WHERE id = ANY($1::text[]::uuid[]) AND false", model),
	one(sessionsFile, "anybody ends anybody's session", "sessions.id = $3 AND sessions.user_id = me.id AND", "sessions.id = $3 AND", model),
	one(sessionsFile, "the list shows everybody's sessions", "WHERE s.user_id = me.id AND s.epoch = me.session_epoch", "WHERE s.epoch = me.session_epoch", model),
	one(loginFile, "an unknown account costs nothing", "stored = dummyHash()", "stored = hash{cost: cost{memory: 8, time: 1, threads: 1}, salt: make([]byte, saltBytes), key: make([]byte, keyBytes)}.String()", timing),
	one(loginFile, "any password will do", "if !fits || !found.exists()", "if !found.exists()", logins),
	one("functions/auth/change_password.go", "the current password need not be known", "if err != nil || fits {", "if err != nil || fits || true {", model),
	one("functions/auth/logout.go", "signing out leaves the cookie", "SetCookie: identity.ClearCookie(), ", "", model),
	one("functions/auth/auth.go", "a sign-in has no generation", "`json:\"gen\" doc", "`json:\"gen,omitempty\" doc", logins),
}

// identityMutants break what is taken for a token.
var identityMutants = []mutant{
	one(tokenFile, "one kind of token passes for another", "alg != f.method.Alg() || typ != f.typ", "alg != f.method.Alg()", tokens),
	one("shared/identity/source.go", "a key that is not in use will do", "return k, known, nil\n", "if !known {\n\t\tk, known = keys.first, true\n\t}\n\treturn k, known, nil\n", tokens),
	one(tokenFile, "a token has any length", "if len(text) > f.most {", "if len(text) > f.most<<10 {", tokens),
	one(tokenFile, "a token has line breaks", " || strings.ContainsFunc(text, foreign)", "", tokens),
	one(tokenFile, "a token of another audience will do", "\t\tjwt.WithAudience(f.audience),\n", "", tokens),
	one(tokenFile, "a token of another installation will do", "\t\tjwt.WithIssuer(issuer),\n", "", tokens),
	one(tokenFile, "a token is good for any time", " || c.Expires-c.IssuedAt > int64(most/time.Second)", "", tokens),
	one(tokenFile, "an id has several spellings", " || part.id.String() != part.text", "", tokens),
	one(objectFile, "a member may be there twice", "jsontext.NewDecoder(bytes.NewBuffer(text))", "jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))", tokens),
	one(objectFile, "a member may be one that we do not know", "if !known {", "if !known && seen[name] {", tokens),
	one(objectFile, "a member may be absent", "if len(seen) == len(o) {", "if len(seen) <= len(o) {", tokens),
	one("shared/identity/identity.go", "clocks may differ by more", "leeway = 30 * time.Second", "leeway = 31 * time.Second", tokens),
	one("shared/identity/keys.go", "a key proves nothing", "if slices.Contains(smallOrder, y) {", "if slices.Contains(smallOrder[:1], y) {", tokens),
	one("shared/identity/keys.go", "a private key is published", "if j.d != \"\" || j.k != \"\" {", "if j.k != \"\" {", tokens),
	one("shared/identity/refresh.go", "an instance's clock judges refresh tokens", "(*jwt.NumericDate, error) { return nil, nil }", "(*jwt.NumericDate, error) { return date(c.Expires), nil }", rotation),
	one(signerFile, "an access token outlives its session", "if session.AbsoluteExpiresAt.Before(until) {", "if session.AbsoluteExpiresAt.Before(session.Now) {", model),
	one(signerFile, "a key signs that nobody knows", "} else if !published {", "} else if !published && keys.first.id == \"\" {", tokens),
	one(cookieFile, "scripts read the cookie", "HttpOnly: true, ", "", tokens),
	one(cookieFile, "other sites send the cookie", "http.SameSiteStrictMode", "http.SameSiteLaxMode", tokens),
	one(cookieFile, "the cookie outlives its session", "int(keep/time.Second)", "int(keep/time.Second)+1", model),
}

// doorMutants break what the front door keeps apart.
var doorMutants = []mutant{
	one(calleeFile, "a client speaks for proxies", "\tstrip(h)\n", "", door),
	one("functions/web/door/header.go", "a client speaks for those of one prefix", "strings.HasPrefix(named, prefix)", "named == prefix", door),
	one("functions/web/door/header.go", "a POST is made twice", "\"Idempotency-Key\", \"X-Idempotency-Key\",", "", door),
	one(calleeFile, "every function gets every cookie", "\thttpapi.KeepCookies(h, c.Cookies)\n", "", door),
	one("functions/web/door/header.go", "every function sets every cookie", "return !slices.Contains(cookies, strings.TrimSpace(name))", "return name == \"\" && cookies == nil", door),
	one(calleeFile, "a refusal of Cloud Run ends a session", "res.Header.Get(\"X-Request-Id\") == \"\" {", "false {", door),
	one(calleeFile, "a slow function is waited for", "\t\t\tdefault:\n\t\t\t\thttpapi.WriteProblem(w, r, c.away(fmt.Errorf(\"%d requests are under way\", cap(slots))))\n\t\t\t\treturn\n", "", door),
	one(calleeFile, "requests leave no room behind", "defer func() { <-slots }()", "defer func() {}()", door),
	one(calleeFile, "a body has any size", "http.MaxBytesReader(w, r.Body, limit)", "http.MaxBytesReader(w, r.Body, limit<<10)", door),
	one(calleeFile, "a body goes on that nobody reads", "if limit == 0 {", "if limit < 0 {", door),
	one(calleeFile, "a stream is kept back", "FlushInterval: -1,", "FlushInterval: time.Hour,", door),
	one(calleeFile, "being late passes for being broken", "errors.Is(ctx.Err(), context.DeadlineExceeded)", "errors.Is(err, io.EOF)", door),
	one("functions/web/door/door.go", "a function may say headers without end", "MaxResponseHeaderBytes: 64 << 10,", "", door),
	one("functions/web/door/callee.go", "a slow body is the function's fault", "if failure := body.failure(); failure != nil {", "if failure := body.failure(); false {", door),
	one("functions/web/door/served.go", "everybody calls what the scheduler calls", "return r.Access != \"scheduler\"", "return r.Access != \"\"", door),
	one("functions/web/door/reply.go", "headers stand there twice", "\t\th[name] = values\n", "\t\th[name] = append(h[name], values...)\n", door),
	one("functions/web/door/reply.go", "a hint takes the headers away", "\t\tmaps.Copy(h, prepared)\n", "\t\t_ = prepared\n", door),
	one("functions/web/door/urls.go", "a token goes out in the clear", "scheme == \"http\" && !httpapi.IsLoopback(host)", "scheme == \"http\" && host == \"\"", door),
	one(doorTokenFile, "an old token serves", "now.Before(h.expires.Add(-margin)), ", "now.Before(h.expires), ", door),
	one(doorTokenFile, "a token is renewed when it has ended", "due := expires.Add(-early)", "due := expires", door),
	one(doorTokenFile, "who has a token waits for the next", "\t\tif serves {\n\t\t\treturn h.token, nil\n\t\t}\n\t\tselect", "\t\tselect", door),
	one(doorTokenFile, "an outage is asked about at each request", "h.renewal = now.Add(pause)", "h.renewal = now", door),
	one("shared/httpapi/relay.go", "anybody is taken for the door", "if http.CanonicalHeaderKey(p.Header) != ClientHeader {", "if false {", frames),
	one("shared/httpapi/relay.go", "anything is taken for an id", "isHex(id, 2*requestIDBytes)", "id != \"\"", frames),
	one("shared/httpapi/cookies.go", "a cookie passes for another", "slices.Contains(names, textproto.TrimString(name))", "slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(name, n) })", frames),
	one("shared/httpapi/httpapi.go", "a late route knows no guard", "alone.Guard, alone.GuardScheduler, alone.Limit, alone.Cookies = a.Guard, a.GuardScheduler, a.Limit, a.Cookies", "alone.Limit, alone.Cookies = a.Limit, a.Cookies", frames),
	one("shared/httpapi/httpapi.go", "a late route knows no limit", "alone.Guard, alone.GuardScheduler, alone.Limit, alone.Cookies = a.Guard, a.GuardScheduler, a.Limit, a.Cookies", "alone.Guard, alone.GuardScheduler, alone.Cookies = a.Guard, a.GuardScheduler, a.Cookies", frames),
	one("shared/httpapi/httpapi.go", "every route is made at the start", "\tif !a.Late {\n", "\tif true {\n", frames),
	one("shared/httpapi/httpapi.go", "a function sees what it does not declare", "\tif a.Cookies != nil {\n", "\tif false {\n", frames),
	one("functions/web/door/callee.go", "what was done is said to be undone", "		!connected:\n", "		true:\n", door),
	one("functions/web/door/callee.go", "all functions together take the page's room", "[]chan struct{}{c.slots, c.all}", "[]chan struct{}{c.slots}", door),
	one("shared/httpapi/wrap.go", "an address is carried out behind its refusal", "	if pattern == \"\" {", "	if true {", door),
}

// otherMutants break what sessions stand on.
var otherMutants = []mutant{
	one("shared/postgres/postgres.go", "a database that cannot be reached is a defect", "if errors.As(err, &connect) {", "if errors.As(err, &connect) && connect == nil {", faults),
	one("shared/postgres/postgres.go", "a connection that breaks is a defect", " || brokenConnection(err) {", " {", outages),
	one(pruneFile, "a session that lives is pruned", "expires_at < now() - interval '1 day'", "expires_at < now() + interval '6 days'", model),
	one(pruneFile, "a session that ended is forgotten too early", "revoked_at < now() - interval '8 days'", "revoked_at < now() - interval '1 day'", model),
	one("shared/ratelimit/ratelimit.go", "without Redis each instance allows all", "return 2 * emission, burst / 2", "return emission, burst", limits),
	one("shared/ratelimit/route.go", "answers tell of an account's limits", "d.Refused.By != Account && d.Refused.By != Device", "d.Refused.By != Device", limits),
	one("shared/ratelimit/route.go", "answers tell of a device's limits", "d.Refused.By != Account && d.Refused.By != Device", "d.Refused.By != Account", limits),
	one("shared/ratelimit/route.go", "a device fails for its account", "		a.key.ID = s.Device\n", "", limits),
	one("shared/ratelimit/route.go", "neighbours lock a known device out", "s.Device != uuid.Nil && k.Policy.By == Network", "false", limits),
	one("shared/ratelimit/route.go", "requests that are no good cost nothing", "		if call.decided {\n			return nil", "		if true {\n			return nil", limits),
	one("shared/ratelimit/route.go", "every success asks Redis twice", "	if a.failed {", "	if true {", limits),
	one("shared/ratelimit/local.go", "refusals fill the memory", "len(l.refused) < most {", "true {", memories),
	one("shared/ratelimit/local.go", "refusals are kept for ever", "delete(l.refused, k)\n		}\n	}\n	for k, f", "_ = k\n		}\n	}\n	for k, f", memories),
	one("shared/ratelimit/local.go", "those who try at once are all let in, alone", "			f.until = now.Add(wait)\n		}\n		l.failed[*account] = f", "		}\n		l.failed[*account] = f", limits),
	one("shared/ratelimit/take.lua", "those who try at once are all let in", "failures > 0 and over >= 0", "false", limits),
	one("shared/ratelimit/local.go", "strangers who have no place are refused", "		if l.place(k) != k {\n			continue\n		}\n", "", memories),
	one("shared/ratelimit/local.go", "all limits stand where the first does", "microseconds(until[i])", "microseconds(until[0]+0*int64(i))", limits),
	one("shared/ratelimit/local.go", "a refusal is known to be the last", "emission*time.Duration(burst-1))\n", "emission*time.Duration(burst))\n", limits),
	one("shared/ratelimit/take.lua", "failures are forgotten with an attempt", "'KEEPTTL'", "'PX', 900000", limits),
	one("shared/ratelimit/take.lua", "an attempt without an outcome locks its owner out", "math.min(tonumber(ARGV[2 * last + 4]), ", "math.min(tonumber(ARGV[2 * last + 1]), ", limits),
	one("shared/ratelimit/route.go", "a network that is used up frees its addresses", "!d.Allowed && d.Refused.By == Network {", "false && d.Allowed {", limits),
	one("shared/ratelimit/route.go", "a device is known where it does not count", "	if !c.knowsDevices() {\n		s.Device = uuid.Nil\n	}\n", "", attempts),
	one("functions/auth/login.go", "a stranger's failures are a device's", "if attempt, _, err = a.admit", "if _, _, err = a.admit", attempts),
	one("functions/auth/login.go", "a password that was is a device's all the same", "device.Epoch != account.epoch && ", "false && ", attempts),
	one("shared/identity/device.go", "of many devices one counts", "if len(in.devices) != 1 {", "if len(in.devices) == 0 {", attempts),
	one("shared/identity/device.go", "rotating the keys makes devices strangers", "for i, k := range keys.order {", "for i, k := range keys.order[:1] {", attempts),
	one("shared/ratelimit/limiter.go", "a request waits for Redis twice", "	if alone {\n		return\n	}\n	answer", "	answer", limits),
	one("shared/ratelimit/local.go", "failures cost nothing", "if over := failures - Backoff.Free; over >= 0 {", "if over := failures - Backoff.Free; over > 1e6 {", limits),
	one("migrations/migrate/migrate.go", "a job that cannot read its address has succeeded", "errors.Unwrap(err))\n\t\treturn 1", "errors.Unwrap(err))\n\t\treturn 0", migrating),
	one("migrations/migrate/migrate.go", "a job's address is no secret", "Secret: true, Optional: true, Doc: \"the database", "Optional: true, Doc: \"the database", migrating),
	one("shared/httpapi/client.go", "a client says who it is", "entries[len(entries)-p.Hops]", "entries[0]", frames),
	one("shared/httpapi/origin.go", "a page of another site writes", "|| near && o.isOwn(r, origins[0])", "|| near || o.isOwn(r, origins[0])", frames),
	one("shared/httpapi/origin.go", "a page that names no origin writes", "		return near\n", "		return near || true\n", frames),
}

// doctorMutants break what the doctor sees.
var doctorMutants = []mutant{
	one("infra/doctor/diagnosis/binding.go", "a member of another pool binds", " && p.project == e.names.number && p.pool == e.names.pool", "", answers),
	one("infra/doctor/diagnosis/binding.go", "a pipeline may deploy another function", "case from != to && may:", "case from != to && may && from == \"\":", answers),
	one("infra/doctor/diagnosis/binding.go", "any role lets a token impersonate", "return p, impersonates(m) && wrong", "return p, wrong", answers),
	one("infra/doctor/diagnosis/condition.go", "a condition that trusts names will do", "{\"taken-name\", fmt", "{\"push-maim\", fmt", answers),
	one("infra/doctor/diagnosis/condition.go", "a claim that is missing is no claim that is false", "if value == true {\n\t\t\tcontinue", "if value == true || err != nil {\n\t\t\tcontinue", answers),
	one("infra/doctor/diagnosis/mapping.go", "a mapping that fails admits", "case err != nil:\n\t\t\tfailed[key] = err", "case err != nil:", answers),
	one("infra/doctor/diagnosis/provider.go", "an issuer may end by a slash", "if want == has {", "if strings.TrimRight(want, \"/\") == has {", answers),
	one("infra/doctor/diagnosis/provider.go", "a token that expired is good", "case e.Now.After(at(c.ExpiresAt).Add(skew)):", "case e.Now.After(at(c.ExpiresAt).Add(60 * skew)):", answers),
	one("infra/doctor/diagnosis/agreement.go", "a tie has a winner", "if 2*count[value] <= len(all) && len(others) > 0 {", "if 2*count[value] < 0 {", doctor),
	one("infra/doctor/diagnosis/deployment.go", "a deployer acts as others", "case owner == name && email != d.Email, shared:", "case owner != \"\", shared:", answers),
	one("infra/doctor/diagnosis/deployment.go", "another project's role will do", "role == own:", "strings.HasPrefix(role, \"projects/\"):", answers),
	one("infra/doctor/diagnosis/deployment.go", "deploying takes no role of its own", "slices.Contains(d.ProjectRoles, own) {", "true {", doctor),
	one("infra/doctor/diagnosis/diagnosis.go", "another function's fault refuses this one's token", "case f.Elsewhere, f.Effect == Endangers", "case f.Effect == Endangers", answers),
	one("infra/doctor/diagnosis/condition.go", "a slip refuses in a part that is true", "Check: s.check, Effect: Doubts", "Check: s.check, Effect: Refuses", doctor),
	one("infra/doctor/diagnosis/condition.go", "a slip explains what another alternative fails by", "if check == \"\" {\n\t\t\treturn nil", "if check == \"\" {\n\t\t\tcontinue", doctor),
	one("infra/doctor/diagnosis/binding.go", "a stale member refuses beside the right one", "wasted, foreign = Doubts, Notes", "wasted, foreign = Refuses, Refuses", doctor),
	one("infra/doctor/diagnosis/binding.go", "what is found of a member hides that none fits", "e.stopped(\"deployers.\"", "e.found(\"deployers.\"", doctor),
	one("infra/doctor/diagnosis/admission.go", "one form of sub is refused, and so is the other", "if twin, ok := e.twin(c); ok && wellOff(twin) {", "if twin, ok := e.twin(c); ok && !wellOff(twin) {", doctor),
	one("infra/doctor/diagnosis/workflow.go", "each workflow signs in here", "ours[run.Field(\"\")] = ours[run.Field(\"\")] || !e.elsewhere(s)", "ours[run.Field(\"\")] = true", doctor),
	one("infra/doctor/diagnosis/trigger.go", "whatever happens starts the workflow", "if started || len(files) == 0 {", "if !started || len(files) == 0 {", doctor),
	one("infra/doctor/diagnosis/trigger.go", "a job runs where the condition wants it", "hosting == workflow.SelfHosted && own {", "hosting == workflow.SelfHosted {", doctor),
	one("infra/doctor/workflow/trigger.go", "a filter of branches lets tags through", "return isBranch && !tags || isTag && !branches", "return isBranch && !tags || isTag", workflows),
	one("infra/doctor/workflow/trigger.go", "* fits a slash", "add(\"[^/]*\", star)", "add(\".*\", star)", workflows),
	one("infra/doctor/workflow/trigger.go", "what is left out stays so, or comes back, by no order", "matches = positive(pattern)", "matches = matches || positive(pattern)", workflows),
	one("infra/doctor/token/token.go", "what the endpoint answers is taken for claims", "if whole := answered(text); whole != \"\" {", "if whole := answered(text); whole == \"\" && text == nil {", claims),
	one("infra/doctor/workflow/workflow.go", "a called job needs no caller's permission", "append(slices.Clip(outer.Asking), grant(f, id,", "append(slices.Clip(outer.Asking[:0]), grant(f, id,", workflows),
	one("shared/workflow/token.go", "a pull request reports", `strings.HasPrefix(said.Event, "pull_request") || `, "", jobs),
	one("shared/workflow/token.go", "what runs for a change by hand reports", ` || strings.HasPrefix(said.Ref, "refs/pull/")`, "", jobs),
	one("shared/workflow/token.go", "a token for others is one for us", "jwt.WithIssuer(v.issuer), jwt.WithAudience(v.audience), ", "jwt.WithIssuer(v.issuer), ", jobs),
	one("shared/workflow/token.go", "a token is for others too", "len(c.Audience) != 1", "len(c.Audience) == 0", jobs),
	one("shared/workflow/token.go", "another kind of token is one", `t.Header["typ"] != "JWT" || `, "", jobs),
	one("shared/workflow/token.go", "what must be understood is not", ` || t.Header["crit"] != nil`, "", jobs),
	one("shared/workflow/token.go", "a use is forgotten before the token expires", "c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > longest", "c.IssuedAt == nil", jobs),
	one("shared/workflow/token.go", "all tokens are one", `v.issuer + "\n" + said.ID`, `v.issuer`, jobs),
	one("shared/workflow/workflow.go", "keys come in the clear", "!httpapi.IsLoopback(u.Hostname())", `httpapi.IsLoopback("")`, jobs),
	one("shared/access/teams.go", "the request says what its caller is", "if _, taken := all[name]; taken {", "if false {", bound),
	one("shared/access/teams.go", "a repository that was handed over is trusted", " AND repository_owner_id = @job_owner", " AND @job_owner::bigint > 0", reported),
	one("shared/access/teams.go", "any environment will do", "(environment = '' OR lower(environment) = lower(@job_environment))", "(environment = '' OR @job_environment <> '')", reported),
	one("shared/access/teams.go", "a token is good for ever", " AND EXISTS (SELECT FROM used)", "", reported),
	one("functions/auth/sight.go", "a filler passes for a letter", "return r == brailleBlank || unicode.In(", "return unicode.In(", seen),
	one("functions/auth/sight.go", "an invisible letter is seen", ", unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)", ", unicode.Variation_Selector)", seen),
	one("functions/auth/sight.go", "a sign before numbers is hidden", " &&\n\t\t!unicode.Is(unicode.Prepended_Concatenation_Mark, r)", "", seen),
	one("functions/auth/sight.go", "Latin is joined", " && !unicode.In(before, alike...)", "", seen),
	one("functions/auth/sight.go", "a joiner follows a joiner", "unicode.In(before, unicode.L, unicode.M, unicode.N, unicode.S)", "before != 0", seen),
	one("functions/auth/sight.go", "a variation of a variation", "return r == joiner\n", "return true\n", seen),
	one("functions/auth/sight.go", "a name covers the line above", "if marks > marksMost {", "if false {", seen),
	one("functions/auth/sight.go", "a name ends in a joiner", "return seen && (!hidden(before) || unicode.Is(unicode.Variation_Selector, before))", "return seen", seen),
	one("functions/auth/sight.go", "an address hides something", "if strings.ContainsFunc(address, hidden) {", "if false {", seen),
	one("functions/auth/sight.go", "look-alikes are mixed", "if scripts > 1 {", "if scripts > 2 {", seen),
	one("shared/access/protect.go", "a job reads", "if caller.asks.scope != Report {", "if caller.asks.scope == \"\" {", reported),
	one("functions/metrics/reported.go", "a failure stands over a success", "array_position(@ranks::text[], excluded.status) > array_position(@ranks, d.status)", "excluded.status <> d.status", reported),
	one("functions/metrics/reported.go", "the last end counts", "excluded.finished_at < d.finished_at)", "excluded.finished_at > d.finished_at)", reported),
	one("functions/metrics/reported.go", "the day that a deployment leaves stays as it was", "FROM (SELECT finished_at FROM old UNION SELECT finished_at FROM written)", "FROM (SELECT finished_at FROM written)", reported),
	one("functions/metrics/reported.go", "a repeat has days computed anew", " AND EXISTS (SELECT FROM written))", ")", reported),
	one("functions/metrics/reported.go", "days are those of UTC", "(at AT TIME ZONE @time_zone)::date", "(at AT TIME ZONE 'UTC')::date, @time_zone::text AS zone", reported),
	one("functions/metrics/reported.go", "of two services it is any", "case services > 1:", "case services > 2:", reported),
	one("functions/metrics/reported.go", "reports do not wait for each other", "DO UPDATE SET kind = environments.kind", "DO NOTHING", reported),
	one("functions/dev/history/deployments.go", "an import removes what was reported", " AND external_id NOT LIKE 'report:%'", "", imported),
	one("functions/auth/trusted_repositories.go", "whoever knows an id ends another team's trust", "WHERE r.id = @id AND r.team_id = team.id", "WHERE r.id = @id", trusting),
	one("functions/auth/trusted_repositories.go", "what is there needs room", "WHERE NOT same) < @most", ") < @most", trusting),
	one("functions/rollup/credentials.go", "a use is forgotten while the token is good", "expires_at < now() - interval '1 hour'", "true", pruned),
	one("infra/doctor/workflow/workflow.go", "a job without permissions has the workflow's beside its own", "if permissions == nil && f.Permissions != nil {", "if f.Permissions != nil {", workflows),
	one("infra/doctor/token/scenario.go", "both forms of sub are one", "byName.Subject, byID.Subject = c.Subjects()", "byName.Subject, _ = c.Subjects()\n\tbyID.Subject = byName.Subject", claims),
	one("infra/doctor/command/show.go", "a terminal obeys a token", "if r != '\\n' && r != '\\t' && (unicode.IsControl(r)", "if r == 0 && (unicode.IsControl(r)", answers),
}

// operatingMutants break what deploys, keeps and restores.
var operatingMutants = []mutant{
	one("infra/release/release.go", "a revision is promoted whatever it answers", "	if err := r.smoke(ctx, s); err != nil {\n		return err\n	}\n", "	_ = r.smoke(ctx, s)\n", releases),
	one("infra/release/release.go", "a release that fails is left where it is", "errors.Join(err, r.rollBack(ctx))", "err", releases),
	one("infra/release/release.go", "whoever stops a release stops its roll-back", "context.WithoutCancel(ctx)", "ctx", releases),
	one("infra/release/release.go", "a change whose answer was lost may arrive after the roll-back", "	r.touched = true\n	if err := r.shift(ctx, flag)", "	if err := r.shift(ctx, flag)", releases),
	one("infra/release/release.go", "somebody else's traffic is not seen", "case !maps.Equal(s.shares, want):", "case false:", releases),
	one("infra/release/release.go", "somebody else's revision is not seen", "s.latest != r.candidate || s.tagged", "s.tagged", releases),
	one("infra/release/release.go", "a roll-back is believed", "		if !maps.Equal(s.shares, back) {", "		if false {", releases),
	one("infra/release/release.go", "what was cut off stays in the traffic", "	return r.rollBack(ctx)\n}\n\nfunc (r *release) deploy", "	return nil\n}\n\nfunc (r *release) deploy", releases),
	one("infra/release/watch.go", "a fourth failure is waited for", "leastFailures, worstShare = 3, 5", "leastFailures, worstShare = 4, 5", releases),
	one("infra/release/watch.go", "Cloud Monitoring that shows nothing shows no failure", "requests == 0 && r.asked != nil", "false", releases),
	one("infra/release/release.go", "a release goes on until the pipeline ends it", "return 30*time.Minute", "return 24*time.Hour", releases),
	one("infra/release/watch.go", "a revision may fail a little more", ">= requests*worstShare", "> requests*worstShare", releases),
	one("infra/release/watch.go", "a revision is another commit", " || live.Release != r.commit", "", releases),
	one("infra/release/watch.go", "the token goes where the revision sends it", "return http.ErrUseLastResponse", "return nil", releases),
	one("infra/release/watch.go", "it is watched for no time", "for end := r.now().Add(r.watch);", "for end := r.now();", releases),
	one("infra/changed/changed.go", "what went is not seen", "if _, err := os.Lstat(filepath.Join(dir, file)); err == nil {", "if true {", changed),
	one("infra/changed/changed.go", "a file that moved stays where it was", `"--no-renames", `, `"--find-renames", `, changed),
	one("infra/changed/changed.go", "what cannot be compared has not changed", `		fmt.Fprintf(errs, "everything: %q is no commit of this clone\n", base)
		return everything, nil`, `		fmt.Fprintf(errs, "everything: %q is no commit of this clone\n", base)
		return Changes{Functions: []string{}}, nil`, changed),
	one("infra/changed/changed.go", "modules concern nobody", `file == "go.mod" || `, "", changed),
	one("infra/backup/archive/archive.go", "half a file is committed", "if read == nil {", "if true {", archives),
	one("infra/backup/archive/archive.go", "what is there is lost untold", "len(objects) > 0 && !replace", "len(objects) > 0 && false", archives),
	one("infra/backup/archive/archive.go", "a restore that fails leaves a part", `begin := "BEGIN;\n"`, `begin := "\n"`, archives),
	one("infra/backup/archive/archive.go", "nobody reads the file before", `call(ctx, nil, io.Discard, "", reader.file, "--file=-", file)`, "error(nil)", archives),
	one("infra/backup/archive/run.go", "the password is an argument", "u.User = url.User(u.User.Username())", "_ = url.User", archives),
	one("functions/rollup/rebuild/rebuild.go", "days are those of UTC", "(c.authored_at AT TIME ZONE z.time_zone)::date", "(c.authored_at AT TIME ZONE 'UTC')::date", rebuilds),
	one("functions/rollup/rebuild/rebuild.go", "rollups of no facts stay", "\n	UNION SELECT 'deployments', environment_id, day FROM rollup_samples", "", rebuilds),
	one("infra/bootstrap/github.go", "reviewers are taken away", "case err != nil && !absent(err):", "case err == nil || !absent(err):", bootstrap),
	one("infra/bootstrap/shell.go", "a dry run does it", "	if sh.dry {", "	if false {", bootstrap),
	one("infra/bootstrap/cloud.go", "a bucket of somebody else is ours", "	case has == name:", "	case has == \"\":", bootstrap),
	one("infra/bootstrap/cloud.go", "a budget may be applied by a person alone", `[]string{"roles/billing.costsManager"}`, "nil", bootstrap),
	one("infra/bootstrap/cloud.go", "what is given is given again", "slices.Contains(strings.Fields(has), role)", "slices.Contains(strings.Fields(has), \"\")", bootstrap),
	one("infra/bootstrap/cloud.go", "any branch applies", `"assertion.ref == 'refs/heads/main'",`, "", bootstrap),
	one("infra/bootstrap/cloud.go", "whoever pushes is planned", `"assertion.event_name == 'pull_request'", `, "", bootstrap),
}

// outageMutants break what holds when Google, a database or a network does not.
var outageMutants = []mutant{
	one("shared/scheduler/scheduler.go", "any job calls any schedule", "!said.Verified || !slices.Contains(g.accounts[path], said.Email)", "!said.Verified || slices.Contains(g.accounts[`nobody`], said.Email)", scheduled),
	one("shared/scheduler/scheduler.go", "an address that nobody has proved counts", "!said.Verified || ", "", scheduled),
	one("shared/scheduler/scheduler.go", "anybody takes the signature off", "if g.removed && strings.HasSuffix", "if strings.HasSuffix", scheduled),
	one("shared/scheduler/scheduler.go", "a token without a signature may have expired", "return said, jwt.NewValidator(options...).Validate(said)", "return said, nil", scheduled),
	one("shared/scheduler/scheduler.go", "an outage of Google's is the token's fault", "err != nil && away.Kind == fault.Unavailable", "err != nil && away.Kind == fault.Late", scheduled),
	one("shared/scheduler/scheduler.go", "several tokens are one", "len(values) != 1", "len(values) == 0", scheduled),
	one("shared/jwks/jwks.go", "whoever makes up keys has their issuer asked", "k.tried.IsZero() || now.Sub(k.tried) >= pause", "true", scheduled),
	one("shared/jwks/jwks.go", "keys are kept for ever", "case key != nil && now.Before(k.until):", "case key != nil:", scheduled),
	one("shared/jwks/set.go", "short keys will do", "bits < leastBits || ", "", scheduled),
	one("shared/jwks/set.go", "a check takes as long as a stranger likes", " || bits > mostBits", "", published),
	one("shared/jwks/jwks.go", "stale keys serve for ever", "now.Before(k.until.Add(k.source.Stale))", "k.source.Stale > 0", published),
	one("shared/jwks/jwks.go", "who answers elsewhere signs", "return http.ErrUseLastResponse", "return nil", published),
	one("shared/jwks/jwks.go", "an outage is the token's fault", "k.due(now), fault.Away(k.source.Name, k.failed)", "k.due(now), ErrUnknown", published),
	one("shared/jwks/jwks.go", "who comes while the keys are on their way is refused", "return nil, k.asked || k.due(now), ErrUnknown", "return nil, k.due(now), ErrUnknown", published),
	one("shared/jwks/jwks.go", "who comes while the keys are asked for again is sent away", "return nil, k.asked || k.due(now), fault", "return nil, k.due(now), fault", published),
	one("shared/scheduler/scheduler.go", "whom Cloud Run knows by another token is believed", "if g.removed && h.Get(checkedInstead) != \"\" {", "if false {", scheduled),
	one("functions/auth/mails.go", "an inbox is filled", "FROM asked WHERE n < $3", "FROM asked WHERE n >= 0 OR n < $3", forgotten),
	one("functions/auth/mails.go", "who is disabled is mailed", "email_key = $1 AND disabled_at IS NULL", "email_key = $1", forgotten),
	one("functions/auth/links.go", "a link outlives the password that it would set", "WHERE l.kind = 'password' AND l.user_id = s.user_id AND l.secret_hash", "WHERE false AND l.secret_hash", forgotten),
	one("functions/rollup/mails.go", "a letter is sent by all who call", "LIMIT 1 FOR UPDATE OF m SKIP LOCKED", "LIMIT 1", posted),
	one("functions/rollup/mails.go", "a server that is away is asked at once again", "due_at = now() + interval '1 minute' * 2 ^ attempts", "due_at = now()", posted),
	one("functions/rollup/mails.go", "a letter is tried for ever", "(attempts >= $1 AND", "(attempts >= 1000 + $1 AND", posted),
	one("functions/rollup/mail.go", "a letter that was not taken was sent", "case err != nil:\n\t\t\t//", "case err != nil && refused.Code > 0:\n\t\t\t//", posted),
	one("shared/mail/mail.go", "mail goes out in the clear", "gomail.WithTLSPolicy(gomail.TLSMandatory)", "gomail.WithTLSPolicy(gomail.TLSOpportunistic)", letters),
	one("shared/mail/mail.go", "an address is another", "read.Address != l.To || ", "read.Address == \"\" || ", letters),
	one("functions/auth/github.go", "anybody's code will do", "[]byte(in.State)) != 1", "[]byte(in.State)) > 1", github),
	one("functions/auth/github.go", "another site begins", "\"same-origin\"}, in.Site)", "\"same-origin\", in.Site}, in.Site)", github),
	one("functions/auth/github.go", "a browser is sent to another site", "!strings.HasPrefix(path, \"//\") && ", "", github),
	one("functions/auth/github.go", "another's proof deletes an account", "if err != nil || owner == found.id {", "if err != nil || owner != found.id || owner == found.id {", github),
	one("functions/auth/github.go", "a proof is good for ever", "(!ours || a.now().After(p.Until))", "!ours", github),
	one("functions/auth/github_cookie.go", "anybody makes a cookie", "return ours && err == nil", "return (ours || true) && err == nil", github),
	one("functions/auth/github_cookie.go", "one cookie passes for the other", "Pseudonyms(ctx, purpose, sealed)\n\tif err != nil {\n\t\treturn false", "Pseudonyms(ctx, pendingPurpose, sealed)\n\tif err != nil {\n\t\treturn false", github),
	one("functions/auth/github/github.go", "any address counts", "if e.Primary && e.Verified {", "if e.Primary {", github),
	one("functions/auth/github/github.go", "any token is one", "case !strings.EqualFold(token.TokenType, \"bearer\"):", "case false:", github),
	one("functions/auth/github/github.go", "a token goes where GitHub is not", "return http.ErrUseLastResponse", "return nil", github),
	one("functions/auth/login.go", "an account without a password has any", "!found.exists() || found.hash == \"\" {", "!found.exists() {", github),
	one("functions/rollup/rollup_commits.go", "a call that comes twice counts twice", "SET commits = EXCLUDED.commits", "SET commits = rollup_commits.commits + EXCLUDED.commits", simulated),
	one("shared/postgres/postgres.go", "a connection that takes no writes is kept", "err.Code != readOnly && fatal(conn, err)", "fatal(conn, err)", faults),
	one("shared/postgres/redial.go", "an instance that is away is dialled at once again", "r.pause = min(max(firstPause, 2*r.pause), longestPause)", "r.pause = 0", dialling),
	one("shared/postgres/redial.go", "a success ends no pause", "r.pause, r.until = 0, time.Time{}", "r.until = time.Time{}", dialling),
	one("shared/secrets/manager.go", "a value that arrived damaged is believed", "if payload.GetDataCrc32C() != int64(", "if false && 0 != int64(", reading),
	one("shared/secrets/manager.go", "nothing is a value", "if len(payload.GetData()) == 0 {", "if false {", reading),
}

// observedMutants break what is told of requests, and how long it may take.
var observedMutants = []mutant{
	one("shared/uplink/uplink.go", "a collector that fails is asked on", "if l.failures >= trips {\n\t\tl.rests", "if false {\n\t\tl.rests", uplinks),
	one("shared/uplink/uplink.go", "a request waits for as long as the collector likes", "context.WithDeadline(context.WithoutCancel(ctx), deadline)", "context.WithCancel(context.WithoutCancel(ctx))", uplinks),
	one("shared/uplink/uplink.go", "clients who leave have the collector left alone", "context.WithDeadline(context.WithoutCancel(ctx), deadline)", "context.WithDeadline(ctx, deadline)", uplinks),
	one("shared/uplink/uplink.go", "a collector is asked before it wants", "l.asked = until", "_ = until", uplinks),
	one("shared/errorreport/errorreport.go", "a storm is sent whole", "quiet      = time.Minute", "quiet      = 0", reports),
	one("shared/errorreport/errorreport.go", "a storm of many kinds is sent whole", "return len(r.groups) < mostGroups", "return true", reports),
	one("shared/errorreport/scrub.go", "what the client sent is told", "text = strings.ReplaceAll(text, value, \"[sent]\")", "_ = value", reports),
	one("shared/errorreport/scrub.go", "what looks private is told", "text = s.pattern.ReplaceAllString(text, s.instead)", "_ = s", reports),
	one("shared/errorreport/errorreport.go", "Sentry's client runs on after sending", "\tdefer client.Close()\n", "", reports),
	one("shared/errorreport/client.go", "Sentry's client tells what it likes", "return told(e)", "return e", reports),
	one("shared/errorreport/client.go", "Sentry asks for rest in vain", "c.limit = limited(answered)", "_ = limited(answered)", reports),
	one("shared/errorreport/client.go", "what was not written passes for told", "c.limit, c.err = 0, errUnsent", "c.limit, c.err = 0, nil", reports),
	one("shared/errorreport/event.go", "where files lay is told", "Filename: path.Join(folder, file)", "Filename: path.Join(folder, cmp.Or(f.AbsPath, file))", reports),
	one("infra/release/release.go", "functions are compiled with gRPC's pages", ";GOFLAGS=-tags=\" + stage.Tags", ";GOFLAGS=-mod=vendor\"", releases),
	one("shared/httpapi/observed.go", "bodies are told", "return append(all, written(rec.body)...)", "return all", reports),
	one("shared/tracing/tracing.go", "every request waits for the collector", ">= interval)", ">= 0)", traces),
	one("shared/tracing/tracing.go", "spans fill the memory", "t.waiting = t.waiting[over:]", "_ = over", traces),
	one("shared/tracing/tracing.go", "everything is recorded", ">>1 < t.threshold", ">>1 >= 0*t.threshold", traces),
	one("shared/function/env.go", "at the end nobody is told", "untold := tellRest(ctx, ends)", "untold := tellRest(ctx, ends[:0])", observed),
	one("functions/web/door/callee.go", "the door tells of others' failures too", "httpapi.PassedOn(res.Request.Context(), c.Name)", "httpapi.Note(res.Request.Context(), httpapi.PassedTo, c.Name)", door),
	one("functions/web/door/callee.go", "a trace ends at the door", "\ttracing.Inject(p.In.Context(), h)\n", "", door),
}
