// Where a link leads that somebody was given: into a team, to a new password, or to
// the first account.

import { useEffect, useState } from "preact/hooks";
import type { Profile, ShownLink, Team } from "./answers";
import { Failure, useAnswer } from "./answer";
import { Form, NewPassword, useTitle } from "./form";
import { ask, Away, explain, Refusal, withJSON } from "./http";
import { Name } from "./name";
import { send, signIn, signOut } from "./session";
import { Alone, SignIn } from "./signin";

interface Props {
  secret: string;
  signedIn: boolean;
  done: (team?: string) => void; // and to the figures, of a team
}

/** LinkPage shows what a link is good for and has it used. */
export function LinkPage({ secret, signedIn, done }: Props) {
  const [shown, setShown] = useState<ShownLink>();
  const [error, setError] = useState<unknown>();
  const look = () => {
    setError(undefined);
    ask<ShownLink>("/api/auth/links/show", withJSON("POST", { link: secret })).then(setShown, setError);
  };
  useEffect(look, [secret]);

  if (error !== undefined) return <Useless error={error} again={look} signedIn={signedIn} done={done} />;
  if (!shown) return <main class="blank" aria-busy="true" />;
  switch (shown.kind) {
    case "password":
      return <SetPassword secret={secret} signedIn={signedIn} done={done} />;
    case "invitation":
      if (signedIn) return <Join secret={secret} shown={shown} done={done} />;
      return <SignIn notice={<Invited shown={shown} />} link={{ secret, shown, done: (user) => done(user.teams[0]?.id) }} />;
    case "owner":
      if (signedIn) return <OneAccount done={done} />;
      return <SignIn notice="This link opens an account and a team, whose owner you are." link={{ secret, shown, done: () => done() }} />;
  }
}

/** Useless says why a link leads nowhere, and where to go instead. */
function Useless({ error, again, signedIn, done }: { error: unknown; again: () => void; signedIn: boolean; done: () => void }) {
  useTitle("A link");
  return (
    <Alone title="This link does not work">
      {error instanceof Away ? <Failure error={error} again={again} /> : <Wrong error={error} />}
      <button type="button" class="primary" onClick={() => done()}>
        {signedIn ? "Go to the dashboard" : "Sign in"}
      </button>
    </Alone>
  );
}

function Wrong({ error }: { error: unknown }) {
  return (
    <p role="alert">
      {error instanceof Refusal && error.problem.code === "invalid_request"
        ? "It is not whole: its end is missing, or something was changed on the way. Copy it again, to its end, or ask for a new one."
        : explain(error)}
    </p>
  );
}

function Invited({ shown }: { shown: ShownLink }) {
  return (
    <>
      {shown.by ? <Name of={shown.by} /> : "An owner"} invites you to{" "}
      <b>
        <Name of={shown.team} />
      </b>
      , as {as(shown.role)}.
    </>
  );
}

/** as names a role as somebody has it. */
const as = (role: string) => (role === "viewer" ? "a viewer" : `an ${role}`);

function Join({ secret, shown, done }: { secret: string; shown: ShownLink; done: (team?: string) => void }) {
  const profile = useAnswer<Profile>("/api/auth/me");
  useTitle("An invitation");
  return (
    <Alone title="Join a team">
      <p>
        <Invited shown={shown} />
      </p>
      {profile.data && (
        <p class="other">
          You are signed in as <Name of={profile.data.email} />. Is that not you?{" "}
          <button type="button" class="link" onClick={() => void signOut()}>
            Sign out
          </button>
        </p>
      )}
      <Form class="fields" button="Join the team" act={() => send<Team>("POST", "/api/auth/invitations/accept", { link: secret }).then((team) => done(team.id))} />
      <button type="button" class="quiet" onClick={() => done()}>
        Not now
      </button>
    </Alone>
  );
}

function SetPassword({ secret, signedIn, done }: Props) {
  useTitle("A new password");
  return (
    <Alone title="Choose a new password">
      <p>
        It replaces the old one, and ends all sessions of the account but the one that begins here.
        {signedIn && " Whoever is signed in here now is signed out, if that is another account."}
      </p>
      <Form class="fields" button="Set the password" act={({ new_password }) => signIn("/api/auth/password/reset", { link: secret, new_password }, () => done())}>
        <NewPassword label="New password" name="new_password" />
      </Form>
    </Alone>
  );
}

function OneAccount({ done }: { done: () => void }) {
  useTitle("A link");
  return (
    <Alone title="You have an account">
      <p>This link opens another account, and you are signed in. To use it, sign out first.</p>
      <Form class="fields" button="Sign out" act={() => signOut()} />
      <button type="button" class="quiet" onClick={() => done()}>
        Not now
      </button>
    </Alone>
  );
}
