// Who belongs to a team, as what, and who is invited.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Invitation, Member, Profile, Role, Team } from "./answers";
import { Failure, useAnswer, type Answer } from "./answer";
import { Confirm, Dialog, Field, Form, Once, Select } from "./form";
import { Name } from "./name";
import { send } from "./session";
import { Group, NewTeam, Row } from "./settings";
import { dayOf, isolated } from "./words";

export const roles: Record<Role, string> = { viewer: "Viewer", editor: "Editor", owner: "Owner" };

const rolesHint = "A viewer reads, an editor also changes what figures are computed from, an owner also who belongs.";

interface Props {
  profile: Profile;
  team: Team;
  changed: () => void;
  goTo: (team: string | undefined) => void;
}

/** People are the parts of a team's settings that are about people. */
export function People({ profile, team, changed, goTo }: Props) {
  const path = "/api/auth/teams/" + team.id;
  const owner = team.role === "owner";
  const members = useAnswer<{ members: Member[] }>(path + "/members");
  const again = () => {
    members.again();
    changed(); // perhaps it was one's own role
  };
  return (
    <>
      <Group title="The team" note={`Its days begin in ${team.time_zone}.`}>
        {owner ? (
          <Form class="form line" button="Save" done="Saved." act={({ name }) => send("PATCH", path, { name }).then(changed)}>
            <Field label="Name" name="name" id="team-name" value={team.name} most={100} />
          </Form>
        ) : (
          <p class="what">
            <Name of={team.name} />
          </p>
        )}
      </Group>
      <Group title="Members" note={owner ? rolesHint : "Owners decide who belongs, and as what."}>
        <Listed answer={members}>
          {({ members }) => (
            <ul class="rows">
              {members.map((m) => (
                <MemberRow key={m.id} member={m} own={m.id === profile.id} path={path} owner={owner} again={again} />
              ))}
            </ul>
          )}
        </Listed>
      </Group>
      {owner && <Invitations path={path} />}
      <Group title="Other teams" note="Somebody can belong to several teams, and chooses between them at the head of the page.">
        <div class="acts">
          <NewTeam goTo={goTo} />
          <Leave team={team} path={path} goTo={goTo} />
        </div>
      </Group>
    </>
  );
}

/** Listed shows a list, or why there is none to show. */
export function Listed<T>({ answer, children }: { answer: Answer<T>; children: (data: T) => ComponentChildren }) {
  if (answer.error !== undefined) return <Failure error={answer.error} again={answer.again} />;
  return answer.data === undefined ? <div class="waiting" aria-busy="true" /> : <>{children(answer.data)}</>;
}

function MemberRow({ member: m, own, path, owner, again }: { member: Member; own: boolean; path: string; owner: boolean; again: () => void }) {
  const [open, setOpen] = useState(false);
  return (
    <Row
      what={
        <>
          <Name of={m.name} />
          {own && <span class="badge">you</span>}
        </>
      }
      about={
        <>
          <Name of={m.email} /> · since {dayOf(m.since)}
        </>
      }
    >
      <span>{roles[m.role]}</span>
      {owner && (
        <button type="button" class="quiet" aria-haspopup="dialog" onClick={() => setOpen(true)}>
          Change<span class="sr"> {isolated(m.name)}</span>
        </button>
      )}
      {open && (
        <Dialog title={<Name of={m.name} />} close={() => setOpen(false)}>
          {(shut) => <ChangeMember member={m} own={own} path={path} done={() => (shut(), again())} />}
        </Dialog>
      )}
    </Row>
  );
}

/** ChangeMember is what an owner may do to a member, one thing at a time. */
function ChangeMember({ member, own, path, done }: { member: Member; own: boolean; path: string; done: () => void }) {
  const [link, setLink] = useState("");
  const at = `${path}/members/${member.id}`;
  return (
    <>
      <Form class="form line" button="Save" act={({ role }) => send("PATCH", at, { role }).then(done)}>
        <Select label="Role" name="role" options={roles} value={member.role} />
      </Form>
      {!own && (
        <>
          <Form
            button="Make a link for a new password"
            kind="quiet"
            act={() => send<{ link: string }>("POST", at + "/password-link").then((made) => setLink(location.origin + made.link))}
          >
            <p class="note">For who has forgotten theirs. Whoever has the link signs in as this member: hand it to nobody else.</p>
          </Form>
          {link && (
            <Once label="Link for a new password" value={link}>
              It is shown this once, and good for one time within an hour.
            </Once>
          )}
          <Form button="Hand the team over" kind="danger" act={() => send("POST", path + "/transfer", { user: member.id }).then(done)}>
            <p class="note">Makes this member an owner and you an editor.</p>
          </Form>
          <Form button="Remove from the team" kind="danger" act={() => send("DELETE", at).then(done)}>
            <p class="note">Holds from their next step on. Their account stays.</p>
          </Form>
        </>
      )}
    </>
  );
}

function Invitations({ path }: { path: string }) {
  const open = useAnswer<{ invitations: Invitation[] }>(path + "/invitations");
  const [link, setLink] = useState("");
  const invite = async ({ role, for: whom }: Record<string, string>, form: HTMLFormElement) => {
    const made = await send<{ link: string }>("POST", path + "/invitations", { role, ...(whom ? { for: whom } : {}) });
    setLink(location.origin + made.link);
    form.reset();
    open.again();
  };
  return (
    <Group title="Invitations" note="A link lets one person into the team, once, within 7 days.">
      <Form class="form line" button="Make a link" label="Invite somebody" act={invite}>
        <Select label="Role" name="role" id="invited-role" options={roles} value="viewer" />
        <Field label="For whom" name="for" id="invited" most={100} optional />
      </Form>
      {link && (
        <Once label="Invitation" value={link}>
          It is shown this once. Hand it to the person whom it is for: whoever has it can join.
        </Once>
      )}
      <Listed answer={open}>
        {({ invitations }) =>
          invitations.length > 0 && (
            <ul class="rows">
              {invitations.map((i) => (
                <Row
                  key={i.id}
                  what={i.for ? <Name of={i.for} /> : "Anybody who has the link"}
                  about={
                    <>
                      {roles[i.role]} · made by {i.by ? <Name of={i.by} /> : "somebody who is gone"} · until {dayOf(i.expires_at)}
                    </>
                  }
                >
                  <TakeBack path={`${path}/invitations/${i.id}`} again={() => (setLink(""), open.again())} />
                </Row>
              ))}
            </ul>
          )
        }
      </Listed>
    </Group>
  );
}

function TakeBack({ path, again }: { path: string; again: () => void }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" class="quiet" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        Take back
      </button>
      {open && (
        <Confirm title="Take the invitation back?" button="Take back" close={() => setOpen(false)} act={() => send("DELETE", path).then(again)}>
          Its link lets nobody in any more.
        </Confirm>
      )}
    </>
  );
}

function Leave({ team, path, goTo }: { team: Team; path: string; goTo: (team: undefined) => void }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" class="danger" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        Leave the team
      </button>
      {open && (
        <Confirm
          title={
            <>
              Leave <Name of={team.name} />?
            </>
          }
          button="Leave"
          close={() => setOpen(false)}
          act={() => send("POST", path + "/leave").then(() => goTo(undefined))}
        >
          You see nothing of it any more. An owner can invite you again.
        </Confirm>
      )}
    </>
  );
}
