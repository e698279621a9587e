// The account of who is signed in: how they sign in, where they are, and its end.

import { useState } from "preact/hooks";
import type { GitHubLink, Profile, Session } from "./answers";
import { useAnswer } from "./answer";
import { download } from "./download";
import { Confirm, Dialog, Field, Form, NewPassword, type Fields } from "./form";
import { Name } from "./name";
import { Listed } from "./people";
import { changePassword, send, signOutBy } from "./session";
import { Group, Row } from "./settings";
import { forgot, gitHubStart, useRule } from "./signin";
import { dayOf, isolated, moment } from "./words";

/** Account is what somebody can see and change of theirs. */
export function Account({ profile, changed }: { profile: Profile; changed: () => void }) {
  const rule = useRule();
  const ways = useAnswer<GitHubLink>("/api/auth/github");
  const sessions = useAnswer<{ sessions: Session[] }>("/api/auth/sessions");
  return (
    <>
      <Group
        title="You"
        note={
          <>
            You sign in as <Name of={profile.email} />. Members of your teams see your name and this address.
          </>
        }
      >
        <Form class="form line" button="Save" done="Saved." act={({ name }) => send("PATCH", "/api/auth/me", { name }).then(changed)}>
          <Field label="Name" name="name" id="own-name" autocomplete="name" value={profile.name} most={100} />
        </Form>
      </Group>
      <Listed answer={ways}>
        {(known) => (
          <>
            <Password profile={profile} has={known.password} mail={rule?.mail ?? false} again={sessions.again} />
            <GitHub known={known} offered={rule?.github ?? false} again={ways.again} />
          </>
        )}
      </Listed>
      <Group title="Devices" note="Where you are signed in. When a device was last there is known by the quarter of an hour.">
        <Listed answer={sessions}>
          {({ sessions: all }) => (
            <ul class="rows">
              {all.map((s) => (
                <Row
                  key={s.id}
                  what={
                    <>
                      <Name of={s.device} />
                      {s.current && <span class="badge">this one</span>}
                    </>
                  }
                  about={`Signed in ${dayOf(s.created_at)} · last there ${moment(s.last_seen_at)}`}
                >
                  {!s.current && <SignOutThere session={s} again={sessions.again} />}
                </Row>
              ))}
            </ul>
          )}
        </Listed>
        <Everywhere />
      </Group>
      <Group title="Your data" note="All that is kept about your account, as a file. Deleting the account is for good.">
        <div class="acts">
          <Form class="plain" button="Export" kind="quiet" act={() => send<object>("POST", "/api/auth/me/export").then(save)} />
          {ways.data && <Delete password={ways.data.password} />}
        </div>
      </Group>
    </>
  );
}

const save = (kept: object) => download("account.json", "application/json", JSON.stringify(kept, null, 2));

function Password({ profile, has, mail, again }: { profile: Profile; has: boolean; mail: boolean; again: () => void }) {
  const change = async ({ current_password = "", new_password = "" }: Fields, form: HTMLFormElement) => {
    await changePassword({ current_password, new_password });
    form.reset();
    again();
  };
  if (has)
    return (
      <Group title="Password" note="Another password signs you out everywhere else.">
        <Form button="Change the password" done="Changed." act={change}>
          <input type="hidden" autocomplete="username" value={profile.email} />
          <Field label="Current password" name="current_password" type="password" autocomplete="current-password" />
          <NewPassword label="New password" name="new_password" />
        </Form>
      </Group>
    );
  return (
    <Group
      title="Password"
      note={`You have none: GitHub lets you in.${mail ? "" : " An owner of your teams, or whoever operates this installation, can make a link that sets one."}`}
    >
      {mail && <Form button="Mail me a link that sets one" done="It is on its way, and good for an hour." act={() => forgot({ email: profile.email })} />}
    </Group>
  );
}

function GitHub({ known, offered, again }: { known: GitHubLink; offered: boolean; again: () => void }) {
  if (known.login !== null)
    return (
      <Group
        title="GitHub"
        note={
          <>
            You sign in with GitHub, as <Name of={known.login} />.
          </>
        }
      >
        <Form class="plain" button="Sign in with GitHub no more" kind="danger" act={() => send("DELETE", "/api/auth/github").then(again)} />
      </Group>
    );
  if (!offered) return null;
  return (
    <Group title="GitHub" note="Sign in without a password. GitHub is asked who you are, and nothing else.">
      <div class="acts">
        <a class="quiet" href={gitHubStart()}>
          Sign in with GitHub from now on
        </a>
      </div>
    </Group>
  );
}

function SignOutThere({ session, again }: { session: Session; again: () => void }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" class="quiet" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        Sign out<span class="sr"> {isolated(session.device)}</span>
      </button>
      {open && (
        <Confirm
          title={
            <>
              Sign out <Name of={session.device} />?
            </>
          }
          button="Sign out there"
          close={() => setOpen(false)}
          act={() => send("DELETE", "/api/auth/sessions/" + session.id).then(again)}
        >
          Whoever uses it has to sign in again.
        </Confirm>
      )}
    </>
  );
}

function Everywhere() {
  const [open, setOpen] = useState(false);
  return (
    <div class="acts">
      <button type="button" class="quiet" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        Sign out everywhere
      </button>
      {open && (
        <Confirm title="Sign out everywhere?" button="Sign out everywhere" close={() => setOpen(false)} act={() => signOutBy("/api/auth/logout-everywhere")}>
          On every device, on this one too.
        </Confirm>
      )}
    </div>
  );
}

function Delete({ password }: { password: boolean }) {
  const [open, setOpen] = useState(false);
  const act = ({ current_password = "" }: Fields) => signOutBy("/api/auth/me/delete", password ? { current_password } : {});
  return (
    <>
      <button type="button" class="danger" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        Delete the account
      </button>
      {open && (
        <Dialog title="Delete the account?" close={() => setOpen(false)}>
          {() => (
            <Form button="Delete it for good" kind="danger" act={act}>
              <p>At once and for good, with the teams that have no other member and all their figures. What you did stays in the logs of teams, without your name.</p>
              {password ? (
                <Field label="Your password" name="current_password" id="delete-password" type="password" autocomplete="current-password" />
              ) : (
                <p>
                  You have no password, so let GitHub say once more that it is you: <a href={gitHubStart()}>go there</a>, and delete within ten minutes after.
                </p>
              )}
            </Form>
          )}
        </Dialog>
      )}
    </>
  );
}
