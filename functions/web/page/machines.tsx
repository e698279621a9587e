// What reads and reports for a team without being a person.

import { useState } from "preact/hooks";
import type { APIToken, Team, TrustedRepository } from "./answers";
import { useAnswer } from "./answer";
import { Confirm, Field, Form, Once, Select, type Fields } from "./form";
import { Name } from "./name";
import { Listed } from "./people";
import { send } from "./session";
import { Group, Row } from "./settings";
import { dayOf, isolated, moment } from "./words";

const scopes = { read: "Read figures", report: "Report deployments" };

/** Machines are a team's API tokens and the repositories that it trusts. */
export function Machines({ team }: { team: Team }) {
  const path = "/api/auth/teams/" + team.id;
  return (
    <>
      <Tokens path={path + "/tokens"} />
      <Repositories path={path + "/trusted-repositories"} />
    </>
  );
}

function Tokens({ path }: { path: string }) {
  const good = useAnswer<{ tokens: APIToken[] }>(path);
  const [token, setToken] = useState("");
  const make = async ({ name, scope, days }: Fields, form: HTMLFormElement) => {
    const made = await send<{ token: string }>("POST", path, { name, scope, days: Number(days) });
    setToken(made.token);
    form.reset();
    good.again();
  };
  return (
    <Group title="API tokens" note="For scripts. A token is the team's, and outlives its maker's membership.">
      <Form class="form line" button="Make a token" label="Make an API token" act={make}>
        <Field label="What it is for" name="name" id="token-name" most={100} />
        <Select label="It may" name="scope" options={scopes} />
        <Select label="Good for" name="days" options={{ "30": "30 days", "90": "90 days", "366": "A year" }} value="90" />
      </Form>
      {token && (
        <Once label="API token" value={token}>
          It is shown this once. Keep it where the script finds it and nobody else, and send it as <code>Authorization: Bearer</code>.
        </Once>
      )}
      <Listed answer={good}>
        {({ tokens }) =>
          tokens.length === 0 ? (
            <p class="empty">There is none.</p>
          ) : (
            <ul class="rows">
              {tokens.map((t) => (
                <Row
                  key={t.id}
                  what={<Name of={t.name} />}
                  about={
                    <>
                      {scopes[t.scope]} · {t.last_used_at ? `last used ${moment(t.last_used_at)}` : "never used"} · until {dayOf(t.expires_at)} · made by{" "}
                      {t.by ? <Name of={t.by} /> : "somebody who is gone"}
                    </>
                  }
                >
                  <End name={t.name} button="Revoke" path={`${path}/${t.id}`} again={() => (setToken(""), good.again())}>
                    What uses it is refused from now on.
                  </End>
                </Row>
              ))}
            </ul>
          )
        }
      </Listed>
    </Group>
  );
}

function Repositories({ path }: { path: string }) {
  const trusted = useAnswer<{ repositories: TrustedRepository[] }>(path);
  const trust = async ({ environment, ...fields }: Fields, form: HTMLFormElement) => {
    await send("POST", path, { ...fields, ...(environment ? { environment } : {}) });
    form.reset();
    trusted.again();
  };
  const number = { pattern: "[1-9][0-9]{0,18}", title: "A number that GitHub gives" };
  return (
    <Group title="Trusted repositories" note="Their jobs in GitHub Actions report deployments for the team, and keep no secret for that.">
      <Form class="form line long" button="Trust it" label="Trust a repository" done="It may report from now on." act={trust}>
        <Field label="Repository" name="name" id="repository" hint="As owner/name" most={200} />
        <Field label="Its number" name="repository_id" {...number} />
        <Field label="Its owner's number" name="repository_owner_id" {...number} />
        <Field label="Environment" name="environment" hint="Only jobs that name it" most={255} optional />
      </Form>
      <p class="note">
        Names can be given up and taken by others, so the numbers count. This prints both: <code>gh api repos/OWNER/NAME --jq '.id, .owner.id'</code>
      </p>
      <Listed answer={trusted}>
        {({ repositories }) =>
          repositories.length === 0 ? (
            <p class="empty">There is none.</p>
          ) : (
            <ul class="rows">
              {repositories.map((r) => (
                <Row
                  key={r.id}
                  what={<Name of={r.name} />}
                  about={
                    <>
                      {r.environment ? (
                        <>
                          In <Name of={r.environment} />
                        </>
                      ) : (
                        "In any environment"
                      )}{" "}
                      · number {r.repository_id}, of owner {r.repository_owner_id} · since {dayOf(r.created_at)}
                    </>
                  }
                >
                  <End name={r.name} button="Remove" path={`${path}/${r.id}`} again={trusted.again}>
                    Its jobs report nothing from now on. What they reported stays.
                  </End>
                </Row>
              ))}
            </ul>
          )
        }
      </Listed>
    </Group>
  );
}

/** End asks whether something is to have an end, and sees to it. */
function End(props: { name: string; button: string; path: string; again: () => void; children: string }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" class="quiet" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        {props.button}
        <span class="sr"> {isolated(props.name)}</span>
      </button>
      {open && (
        <Confirm
          title={
            <>
              {props.button} <Name of={props.name} />?
            </>
          }
          button={props.button}
          close={() => setOpen(false)}
          act={() => send("DELETE", props.path).then(props.again)}
        >
          {props.children}
        </Confirm>
      )}
    </>
  );
}
