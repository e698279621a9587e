// What happened in a team, and who did it.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { AuditEvent, AuditEvents, Member, Team } from "./answers";
import { useAnswer } from "./answer";
import { download } from "./download";
import { explain } from "./http";
import { Name } from "./name";
import { More, usePages } from "./pages";
import { Listed } from "./people";
import { asUser } from "./session";
import { Group, Row } from "./settings";
import { moment } from "./words";

type Say = (detail: Record<string, string>, who: (id: string | undefined) => ComponentChildren) => ComponentChildren;

// After the name of who did it.
const said: Record<string, Say> = {
  register: (d) => (d.link ? "opened an account by a link" : "opened an account"),
  team_created: () => "made the team",
  team_renamed: (d) => <>named the team {quoted(d.name)}</>,
  team_transferred: (d, who) => <>handed the team over to {who(d.user)}</>,
  invited: (d) => `made an invitation as ${d.role}`,
  invitation_accepted: (d) => `joined as ${d.role}`,
  invitation_revoked: () => "took an invitation back",
  role_changed: (d, who) => (
    <>
      made {who(d.user)}, {d.from} until then, {d.to}
    </>
  ),
  member_removed: (d, who) => (
    <>
      removed {who(d.user)}, who was {d.role}
    </>
  ),
  member_left: (d) => `left, and was ${d.role}`,
  account_deleted: () => "deleted their account",
  password_link_made: (d, who) => <>made a link for a new password of {who(d.user)}</>,
  token_made: (d) => (
    <>
      made the API token {quoted(d.name)}, to {d.scope}
    </>
  ),
  token_revoked: (d) => <>revoked the API token {quoted(d.name)}</>,
  repository_trusted: (d) => <>had the repository {repository(d)} trusted</>,
  repository_distrusted: (d) => <>ended the trust in the repository {repository(d)}</>,
};

const quoted = (name: string | undefined) => (
  <>
    “<Name of={name ?? ""} />”
  </>
);

const repository = (d: Record<string, string>) => (
  <>
    {quoted(d.name)} ({d.repository_id})
    {d.environment && (
      <>
        {" "}
        in <Name of={d.environment} />
      </>
    )}
  </>
);

/** Log is the audit log of a team. */
export function Log({ team }: { team: Team }) {
  const path = `/api/auth/teams/${team.id}/audit`;
  const pages = usePages<AuditEvents, AuditEvent>(path + "?limit=50", (page) => page.events, "before");
  const members = useAnswer<{ members: Member[] }>(`/api/auth/teams/${team.id}/members`);
  const who = (id: string | undefined) => {
    const member = members.data?.members.find((m) => m.id === id);
    return member ? <Name of={member.name} /> : members.data ? "a former member" : "…";
  };
  return (
    <Group title="Audit log" note="What happened in the team, the newest first, by this device's clock.">
      <Table path={path} />
      <Listed answer={pages.first}>
        {({ events }) => (
          <>
            <ul class="rows told">
              {[...events, ...pages.more].map((e) => (
                <Row key={e.id} what={<Sentence event={e} who={who} />} about={<time dateTime={e.at}>{moment(e.at)}</time>} />
              ))}
            </ul>
            <More {...pages} what="of the log" />
          </>
        )}
      </Listed>
    </Group>
  );
}

function Sentence({ event: e, who }: { event: AuditEvent; who: (id: string | undefined) => ComponentChildren }) {
  const detail = Object.fromEntries(Object.entries(e.detail ?? {}).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]));
  const say = said[e.kind];
  return (
    <>
      <b>{e.by ? e.by.name ? <Name of={e.by.name} /> : "Somebody who is gone" : "An operator"}</b>{" "}
      {say ? (
        say(detail, who)
      ) : (
        <>
          {e.kind.replaceAll("_", " ")} <code>{Object.entries(detail).map(([name, value]) => `${name}: ${value}`).join(", ")}</code>
        </>
      )}
    </>
  );
}

/** Table downloads the whole log as a table. */
function Table({ path }: { path: string }) {
  const [state, setState] = useState<{ busy?: boolean; wrong?: string }>({});
  const load = async () => {
    if (state.busy) return;
    setState({ busy: true });
    try {
      download("audit.csv", "text/csv", await table(path));
      setState({});
    } catch (error) {
      setState({ wrong: explain(error) });
    }
  };
  return (
    <div class="acts">
      <button type="button" class="quiet" aria-busy={state.busy ?? false} onClick={load}>
        Download as CSV
      </button>
      <p class="wrong" role="alert">
        {state.wrong}
      </p>
    </div>
  );
}

/** table returns the pages of the log as one text, with one line of names. */
async function table(path: string): Promise<string> {
  let text = "";
  for (let next: string | undefined = path + "?limit=1000"; next; ) {
    const page: { text: string; next: string | undefined } = await asUser(next, { headers: { Accept: "text/csv" } }, async (answer) => ({
      text: await answer.text(),
      next: /<([^>]+)>/.exec(answer.headers.get("Link") ?? "")?.[1],
    }));
    text += text === "" ? page.text : page.text.slice(page.text.indexOf("\r\n") + 2);
    next = page.next;
  }
  return text;
}
