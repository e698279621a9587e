// What becomes of signing in with GitHub, as the way back from there tells.

import { useState } from "preact/hooks";
import type { Profile } from "./answers";
import { Failure, useAnswer } from "./answer";
import { Field, Form, useTitle } from "./form";
import { secretIn, type Arrival, type Outcome } from "./fragment";
import { Name } from "./name";
import { signIn } from "./session";
import { Alone, gitHubStart, ownZone, useRule } from "./signin";

export type FromGitHub = Extract<Arrival, { by: "github" }>;

/** saysGitHub is what to tell somebody whom GitHub did not bring in. */
export const saysGitHub: Partial<Record<Outcome, string>> = {
  denied: "You did not let this dashboard know at GitHub who you are. Try again, or sign in with your password.",
  expired: "Signing in with GitHub took longer than ten minutes, or was begun in another window. Begin again.",
  unverified: "Your primary e-mail address at GitHub is not verified. Verify it there and try again, or sign in with your password.",
  disabled: "This account is disabled. Whoever operates this installation can tell you why.",
  unavailable: "GitHub did not answer as it should. Try again in a moment, or sign in with your password.",
};

interface Props {
  from: FromGitHub;
  done: (team?: string) => void;
}

/** FromGitHubPage asks for what is missing of who is known at GitHub and not here. */
export function FromGitHubPage({ from, signedIn, done }: Props & { signedIn: boolean }) {
  const [other, setOther] = useState(false);
  if (signedIn) return <LinkOwn from={from} done={done} />;
  if (from.became === "link" || other) return <LinkKnown from={from} other={other} done={done} />;
  return <Register from={from} done={done} other={() => setOther(true)} />;
}

const Login = ({ from }: { from: FromGitHub }) => (
  <b>
    <Name of={from.login} />
  </b>
);

function BeginAgain() {
  return (
    <p class="other">
      <a href={gitHubStart()}>Begin again at GitHub</a>
    </p>
  );
}

function LinkOwn({ from, done }: Props) {
  const profile = useAnswer<Profile>("/api/auth/me");
  useTitle("Sign in with GitHub");
  return (
    <Alone title="Sign in with GitHub from now on">
      {profile.error !== undefined && <Failure error={profile.error} again={profile.again} />}
      {profile.data && (
        <>
          <p>
            GitHub knows you as <Login from={from} />. The password of your account <Name of={profile.data.email} /> is wanted once; then either lets you in.
          </p>
          <PasswordForm email={profile.data.email} done={done} />
          <button type="button" class="quiet" onClick={() => done()}>
            Not now
          </button>
        </>
      )}
    </Alone>
  );
}

function LinkKnown({ from, other, done }: Props & { other: boolean }) {
  useTitle("Sign in with GitHub");
  return (
    <Alone title="Is this your account?">
      <p>
        GitHub knows you as <Login from={from} />.{" "}
        {other ? (
          "The e-mail address and the password of your account are wanted once; then GitHub lets you in."
        ) : (
          <>
            There is an account with the address <Name of={from.email} />. Its password is wanted once; then GitHub lets you in.
          </>
        )}
      </p>
      <PasswordForm {...(other ? {} : { email: from.email })} done={done} />
      <p class="other">
        Forgot the password?{" "}
        <button type="button" class="link" onClick={() => done()}>
          Go to sign-in
        </button>
      </p>
      <BeginAgain />
    </Alone>
  );
}

/** PasswordForm links GitHub to an account, whose address it asks for where that is not known. */
function PasswordForm({ email, done }: { email?: string; done: () => void }) {
  return (
    <Form class="fields" button="Sign in with GitHub from now on" act={(fields) => signIn("/api/auth/github/link", { email, ...fields }, () => done())}>
      {email === undefined ? (
        <Field label="E-mail" name="email" type="email" autocomplete="username" />
      ) : (
        <input type="hidden" autocomplete="username" value={email} />
      )}
      <Field label="Password" name="password" type="password" autocomplete="current-password" />
    </Form>
  );
}

function Register({ from, other, done }: Props & { other: () => void }) {
  const rule = useRule();
  const [pasted, setPasted] = useState("");
  useTitle("Create an account");
  if (rule === undefined) return <main class="blank" aria-busy="true" />;
  const open = !rule || rule.mode === "open"; // the API decides
  const wants = open ? "An invitation, if you have one" : rule.mode === "invite" ? "Your invitation" : "A link from whoever operates this installation";
  const act = async ({ name, team, link }: Record<string, string>) => {
    const secret = secretIn(link ?? "");
    const body = { name, ...(team ? { team } : {}), ...(secret ? { link: secret } : {}), time_zone: ownZone() };
    await signIn("/api/auth/github/register", body, (user) => done(user.teams[0]?.id));
  };
  return (
    <Alone title="Create an account">
      <p>
        GitHub knows you as <Login from={from} />, with the address <Name of={from.email} />. There is no account with it here yet.
      </p>
      <Form class="fields" button="Create account" act={act}>
        <Field label="Your name" name="name" autocomplete="name" most={100} value={from.name || from.login} />
        <Field label={wants} name="link" hint="Paste the whole link." optional={open} keep={setPasted} />
        <Field
          label="Team"
          name="team"
          autocomplete="organization"
          most={100}
          hint="Not needed with an invitation, which leads into one."
          optional={pasted !== ""}
        />
      </Form>
      <p class="other">
        You have an account, with another address?{" "}
        <button type="button" class="link" onClick={other}>
          Sign in to it
        </button>
      </p>
      <BeginAgain />
    </Alone>
  );
}
