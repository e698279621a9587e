import { useState } from "preact/hooks";
import type { Change, Changes, Deployment, Deployments, Service } from "./answers";
import { Failure, Panel } from "./answer";
import { knownZone } from "./days";
import { Name } from "./name";
import { More, usePages } from "./pages";
import { count, counted, duration, isolated, moment, none } from "./words";

/** DeploymentList shows the newest deployments, each with its changes. */
export function DeploymentList({ service, question }: { service: Service; question: string }) {
  const zone = knownZone(service.team.time_zone);
  const pages = usePages<Deployments, Deployment>(question, (page) => page.deployments);
  return (
    <Panel title="Deployments" note={`Newest first, times in ${zone}`} answer={pages.first} holds="list">
      {(data) =>
        data.deployments.length === 0 ? (
          <p class="empty">No deployment in this range.</p>
        ) : (
          <>
            <table class="deployments">
              <thead>
                <tr>
                  <th scope="col">Deployment</th>
                  <th scope="col">Finished</th>
                  <th scope="col" class="number">
                    Changes
                  </th>
                  <th scope="col" class="number">
                    Lead time, median
                  </th>
                </tr>
              </thead>
              {[...data.deployments, ...pages.more].map((d) => (
                <Row key={d.id} deployment={d} zone={zone} />
              ))}
            </table>
            <More {...pages} what="deployments" />
          </>
        )
      }
    </Panel>
  );
}

function Row({ deployment: d, zone }: { deployment: Deployment; zone: string }) {
  const [open, setOpen] = useState(false);
  const id = "changes-" + d.id;
  return (
    <tbody class={open ? "open" : ""}>
      <tr>
        <th scope="row">
          <button type="button" class="expand" aria-expanded={open} aria-controls={id} onClick={() => setOpen(!open)}>
            <svg viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">
              <path d="M5.5 3 10.5 8l-5 5" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" />
            </svg>
            <span class="ref">{d.ref === d.sha ? d.sha.slice(0, 10) : <Name of={d.ref} />}</span>
            {d.ref !== d.sha && <code>{d.sha.slice(0, 7)}</code>}
          </button>
          {d.status !== "success" && <span class={"badge " + d.status}>{d.status === "failure" ? "failed" : d.status}</span>}
          {d.baseline && (
            <span class="badge" title="The first deployment of its environment: what it changed cannot be known.">
              first
            </span>
          )}
        </th>
        <td>{d.finished_at ? moment(d.finished_at, zone) : none}</td>
        <td class="number">{d.baseline ? none : count(d.changes)}</td>
        <td class="number">{duration(d.lead_p50)}</td>
      </tr>
      {open && (
        <tr id={id} class="changes">
          <td colSpan={4}>{d.baseline ? <p class="empty">The first deployment of its environment: what it changed cannot be known.</p> : <ChangeList deployment={d} zone={zone} />}</td>
        </tr>
      )}
    </tbody>
  );
}

function ChangeList({ deployment, zone }: { deployment: Deployment; zone: string }) {
  const pages = usePages<Changes, Change>(`/api/metrics/deployments/${deployment.id}/changes?limit=50`, (page) => page.changes);
  const { data, error, again } = pages.first;
  if (error !== undefined) return <Failure error={error} again={again} />;
  if (!data) return <div class="waiting" aria-busy="true" />;
  if (data.changes.length === 0) return <p class="empty">Brought no change for the first time: everything in it was deployed before.</p>;
  return (
    <>
      <table aria-label={`Changes of ${isolated(deployment.ref)}`}>
        <thead class="sr">
          <tr>
            <th scope="col">Commit</th>
            <th scope="col">Subject</th>
            <th scope="col">Author</th>
            <th scope="col">Lead time</th>
          </tr>
        </thead>
        <tbody>
          {[...data.changes, ...pages.more].map((c) => (
            <tr key={c.sha}>
              <td>
                <code>{c.sha.slice(0, 7)}</code>
              </td>
              <td class="subject">{c.subject ? <Name of={c.subject} /> : none}</td>
              <td class="author" title={moment(c.authored_at, zone)}>
                {c.author ? <Name of={c.author} /> : none}
              </td>
              <td class="number" title={c.excluded ? "Left out of the figures: the author's clock cannot be right." : undefined}>
                {c.excluded ? <s>{duration(c.lead_seconds)}</s> : duration(c.lead_seconds)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {deployment.excluded > 0 && <p class="note">{counted(deployment.excluded, "change")} left out of the figures: the author's clock cannot be right.</p>}
      <More {...pages} what="changes" />
    </>
  );
}
