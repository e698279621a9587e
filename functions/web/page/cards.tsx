import type { ComponentChildren } from "preact";
import type { ChangeLeadTime, CommitDays, DeploymentFrequency, Lead } from "./answers";
import type { Answer } from "./answer";
import { count, counted, duration, none, rounded } from "./words";

/** Cards are the range in four figures, each with what it rests on. */
export function Cards(props: { frequency: Answer<DeploymentFrequency>; lead: Answer<ChangeLeadTime>; commits: Answer<CommitDays>; from: string; condensing: boolean }) {
  const { frequency, lead, commits, from, condensing } = props;
  return (
    <div class="cards">
      <Card title="Deployments" answer={frequency}>
        {({ total }) =>
          condensing && total.deployments === 0 ? (
            <Unfinished id="deployments" />
          ) : (
            <Figure id="deployments" value={count(total.deployments)} unit={`${rounded(total.per_day * 7)} per week`}>
              {`on ${count(total.days_with_deployments)} of ${counted(total.days, "day")}`}
              {total.failed > 0 && `, ${count(total.failed)} failed`}
            </Figure>
          )
        }
      </Card>
      <Card title="Change lead time, median" answer={lead}>
        {({ total }) => <Percentile id="lead-p50" lead={total} value={total.p50} other={`p75 ${duration(total.p75)}`} condensing={condensing} />}
      </Card>
      <Card title="Change lead time, p90" answer={lead}>
        {({ total }) => <Percentile id="lead-p90" lead={total} value={total.p90} other={`p95 ${duration(total.p95)}`} condensing={condensing} />}
      </Card>
      <Card title="Commits" answer={commits}>
        {({ days }) => {
          const inRange = days.filter((d) => d.day >= from);
          if (condensing && inRange.length === 0) return <Unfinished id="commits" />;
          return (
            <Figure id="commits" value={count(inRange.reduce((sum, d) => sum + d.commits, 0))}>
              {`on ${counted(inRange.length, "day")}, without merges`}
            </Figure>
          );
        }}
      </Card>
    </div>
  );
}

function Card<T>({ title, answer, children }: { title: string; answer: Answer<T>; children: (data: T) => ComponentChildren }) {
  return (
    <section class="card" aria-busy={answer.loading}>
      <h2>{title}</h2>
      <div class={answer.loading ? "stale" : ""}>
        {answer.error !== undefined ? <Figure value={none}>could not be loaded</Figure> : answer.data === undefined ? <Figure value=" " /> : children(answer.data)}
      </div>
    </section>
  );
}

/** Unfinished stands for a figure whose days are all still to be condensed: not 0. */
function Unfinished({ id }: { id: string }) {
  return (
    <Figure id={id} value={none}>
      still being condensed
    </Figure>
  );
}

function Percentile(props: { id: string; lead: Lead; value: number | null; other: string; condensing: boolean }) {
  const { id, lead, value, other } = props;
  if (value === null && props.condensing) return <Unfinished id={id} />;
  if (value === null) {
    return (
      <Figure id={id} value={none}>
        no change was deployed for the first time
      </Figure>
    );
  }
  const left = lead.excluded > 0 ? `, ${count(lead.excluded)} left out` : "";
  return (
    <Figure id={id} value={(lead.exact ? "" : "≈ ") + duration(value)}>
      <span title={leftOut(lead)}>{`n = ${counted(lead.n, "change")}${left} · ${other}`}</span>
    </Figure>
  );
}

function leftOut(lead: Lead): string {
  const parts = [];
  if (lead.excluded > 0) parts.push("Changes whose author's clock cannot be right are left out.");
  if (!lead.exact) parts.push("Computed from a sketch, right within 1 %.");
  return parts.join(" ");
}

function Figure({ id, value, unit, children }: { id?: string; value: string; unit?: string; children?: ComponentChildren }) {
  return (
    <>
      <p class="figure">
        <b id={id}>{value}</b> {unit && <span>{unit}</span>}
      </p>
      <p class="rests">{children ?? " "}</p>
    </>
  );
}
