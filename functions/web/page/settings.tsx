// Settings: what a team is made of, what reports for it, what happened in it, and
// the account of who looks.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Profile, Team } from "./answers";
import { Account } from "./account";
import { Dialog, Field, Form, useTitle, type Fields } from "./form";
import { fragmentOf, type View } from "./fragment";
import { Log } from "./log";
import { Machines } from "./machines";
import { Name } from "./name";
import { People } from "./people";
import { send } from "./session";
import { ownZone } from "./signin";

const names: Record<Exclude<View, "figures">, string> = { team: "Team", machines: "Machines", log: "Audit log", account: "Account" };

interface Props {
  view: Exclude<View, "figures">;
  profile: Profile;
  team: Team | undefined; // that is looked at
  changed: () => void; // has the profile looked at again
  goTo: (team: string | undefined) => void;
}

/** Settings shows one view of them and leads to the others. */
export function Settings({ view, profile, team, changed, goTo }: Props) {
  useTitle(names[view]);
  const shown = Object.entries(names) as [keyof typeof names, string][];
  return (
    <>
      <h1>Settings</h1>
      <nav class="tabs" aria-label="Settings">
        {shown.map(([key, name]) => (
          <a key={key} href={fragmentOf(key)} aria-current={key === view ? "page" : undefined}>
            {name}
          </a>
        ))}
      </nav>
      {view === "account" ? (
        <Account profile={profile} changed={changed} />
      ) : !team ? (
        <Group title="No team" note="You belong to no team. Make one, or have an owner of one invite you.">
          <NewTeam goTo={goTo} />
        </Group>
      ) : view === "team" ? (
        <People key={team.id} profile={profile} team={team} changed={changed} goTo={goTo} />
      ) : team.role !== "owner" ? (
        <Group title={names[view]} note={<OwnersOnly team={team} />} />
      ) : view === "machines" ? (
        <Machines key={team.id} team={team} />
      ) : (
        <Log key={team.id} team={team} />
      )}
    </>
  );
}

function OwnersOnly({ team }: { team: Team }) {
  return (
    <>
      This is for the owners of <Name of={team.name} />, and you are {team.role === "editor" ? "an editor" : "a viewer"}. An owner can change that.
    </>
  );
}

/** Group is a part of the settings that belongs together. */
export function Group({ title, note, children }: { title: string; note?: ComponentChildren; children?: ComponentChildren }) {
  const id = "group-" + title.toLowerCase().replaceAll(" ", "-");
  return (
    <section class="panel group" aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {note && <p class="note">{note}</p>}
      </header>
      {children}
    </section>
  );
}

/** Row is one thing of a list, and what can be done to it. */
export function Row({ what, about, children }: { what: ComponentChildren; about: ComponentChildren; children?: ComponentChildren }) {
  return (
    <li>
      <div>
        <p class="what">{what}</p>
        <p class="about">{about}</p>
      </div>
      {children && <div class="acts">{children}</div>}
    </li>
  );
}

/** NewTeam makes another team and goes to it. */
export function NewTeam({ goTo }: { goTo: (team: string) => void }) {
  const [open, setOpen] = useState(false);
  const make = async ({ name }: Fields) => goTo((await send<Team>("POST", "/api/auth/teams", { name, time_zone: ownZone() })).id);
  return (
    <div class="acts">
      <button type="button" class="quiet" onClick={() => setOpen(true)}>
        Make a team
      </button>
      {open && (
        <Dialog title="Make a team" close={() => setOpen(false)}>
          {(shut) => (
            <Form button="Make the team" act={(fields) => make(fields).then(shut)}>
              <Field label="Name" name="name" id="new-team" most={100} hint={`You are its owner. Its days begin in ${ownZone()}.`} />
            </Form>
          )}
        </Dialog>
      )}
    </div>
  );
}
