import { useEffect } from "preact/hooks";
import type { ChangeLeadTime, CommitDays, DeploymentFrequency, Service } from "./answers";
import { Failure, Panel, useAnswer, type Answer } from "./answer";
import { CommitCalendar } from "./calendar";
import { Cards } from "./cards";
import type { Choice, Part } from "./choice";
import { addDays, buckets, knownZone, older, rangeName, ranges, span, today, usualBucket, type Bucket, type Range } from "./days";
import { DeploymentList } from "./deployments";
import { useTitle } from "./form";
import { FrequencyChart } from "./frequency";
import { LeadTimeChart } from "./leadtime";
import { Name } from "./name";
import { counted, isolated, shortDay, visible } from "./words";

/** Dashboard is the figures of a team's services. */
export function Dashboard({ services, team, choice, change }: { services: Answer<{ services: Service[] }>; team: string | undefined; choice: Choice; change: Change }) {
  const service = serviceOf(services.data?.services ?? [], team, choice);
  useTitle(service ? visible(service.name) : "");
  return (
    <>
      {services.error !== undefined && <Failure error={services.error} again={services.again} />}
      {services.data && !service && <NothingYet />}
      {service && <Figures key={service.id} service={service} choice={choice} change={change} again={services.again} />}
    </>
  );
}

/** serviceOf returns the service of a team that is looked at, if it has one. */
function serviceOf(services: Service[], team: string | undefined, choice: Choice): Service | undefined {
  const own = services.filter((s) => s.team.id === team);
  return own.find((s) => s.id === choice.service) ?? own[0];
}

function NothingYet() {
  return (
    <section class="panel nothing">
      <h1>Nothing to show yet</h1>
      <p>Your team has no repository. Import the history of one on the machine that runs the dashboard:</p>
      <pre>go run ./functions/dev -repo PATH</pre>
      <p>Or look around with a generated history:</p>
      <pre>go run ./functions/dev -demo</pre>
    </section>
  );
}

type Change = (part: Part) => void;

/** Pickers choose the service of a team, and its environment. */
export function Pickers({ services, team, choice, change }: { services: Service[]; team: string | undefined; choice: Choice; change: Change }) {
  const service = serviceOf(services, team, choice);
  if (!service) return null;
  const environment = environmentOf(service, choice);
  return (
    <>
      <label class="sr" for="service">
        Service
      </label>
      <select id="service" value={service.id} dir="auto" onChange={(e) => change({ service: e.currentTarget.value, environment: undefined })}>
        {services
          .filter((s) => s.team.id === team)
          .map((s) => (
            <option key={s.id} value={s.id}>
              {s.name === s.repository.name ? visible(s.name) : `${isolated(s.repository.name)} / ${isolated(s.name)}`}
            </option>
          ))}
      </select>
      {service.environments.length > 1 && (
        <>
          <label class="sr" for="environment">
            Environment
          </label>
          <select id="environment" value={environment} dir="auto" onChange={(e) => change({ environment: e.currentTarget.value })}>
            {service.environments.map((e) => (
              <option key={e.id} value={e.name}>
                {visible(e.name)}
              </option>
            ))}
          </select>
        </>
      )}
    </>
  );
}

function environmentOf(service: Service, choice: Choice): string {
  const known = service.environments.find((e) => e.name === choice.environment);
  return (known ?? service.environments.find((e) => e.kind === "production") ?? service.environments[0])?.name ?? "production";
}

/** usualRange is the last 12 weeks, or everything where those are silent. */
function usualRange(service: Service, now: string): Range {
  return service.last_day !== null && service.last_day < addDays(now, -83) ? "all" : "12w";
}

function Figures({ service, choice, change, again }: { service: Service; choice: Choice; change: Change; again: () => void }) {
  const now = today(service.team.time_zone);
  const range = choice.range ?? usualRange(service, now);
  const bucket = choice.bucket ?? usualBucket[range];
  const environment = environmentOf(service, choice);
  const { from, to } = span(range, now, service.first_day, service.last_day);
  const unseen = older(now, service.first_day, service.last_day);

  const question = (path: string, extra: Record<string, string>) =>
    `/api/metrics/${path}?` + new URLSearchParams({ service: service.id, from, to, ...extra });
  const frequency = useAnswer<DeploymentFrequency>(question("deployment-frequency", { environment, bucket }));
  const lead = useAnswer<ChangeLeadTime>(question("change-lead-time", { environment, bucket }));
  // The calendar shows a year even when the range is shorter.
  const yearBefore = addDays(to, -364);
  const commits = useAnswer<CommitDays>(question("commits", yearBefore < from && yearBefore >= "1970-01-01" ? { from: yearBefore } : {}));
  useCondensing(service, [again, frequency.again, lead.again, commits.again]);

  return (
    <>
      <div class="toolbar">
        <h1>
          <Name of={service.name} /> <span class="span">{`${shortDay(from)} – ${shortDay(to)}`}</span>
        </h1>
        <Segments<Range> name="Range" values={ranges} chosen={range} label={(r) => rangeName(r, unseen !== null)} choose={(r) => change({ range: r })} />
        <Segments<Bucket>
          name="Bucket"
          values={buckets}
          chosen={bucket}
          label={(b) => b.charAt(0).toUpperCase() + b.slice(1)}
          choose={(b) => change({ range, bucket: b })}
        />
      </div>
      {range === "all" && unseen && <p class="unseen">{`Older history is not shown: ${shortDay(unseen.from)} – ${shortDay(unseen.to)}`}</p>}
      {knownZone(service.team.time_zone) !== service.team.time_zone && (
        <p class="notice" role="status">
          {`This browser does not know the team's time zone ${service.team.time_zone}: ranges end with today in UTC, and times are written in UTC.`}
        </p>
      )}
      {service.dirty_days > 0 && (
        <p class="notice" role="status">
          {counted(service.dirty_days, "day")} still to be condensed: figures that touch them are not final. This page looks again by itself.
        </p>
      )}
      <Cards frequency={frequency} lead={lead} commits={commits} from={from} condensing={service.dirty_days > 0} />
      <div class="charts">
        <Panel title="Deployment frequency" note={`Deployments to ${isolated(environment)} per ${bucket}`} answer={frequency} holds="chart">
          {(data) =>
            data.total.deployments + data.total.failed > 0 ? (
              <FrequencyChart data={data} bucket={bucket} />
            ) : (
              <Silence service={service} from={from} to={to} range={range} cut={unseen !== null} change={change} />
            )
          }
        </Panel>
        <Panel title="Change lead time" note="From a change's authoring to its first deployment" answer={lead} holds="chart">
          {(data) =>
            data.total.n > 0 ? (
              <LeadTimeChart data={data} bucket={bucket} />
            ) : frequency.data && frequency.data.total.deployments > 0 ? (
              <p class="empty">
                The deployments in this range brought no change for the first time, so there is nothing to measure. A first deployment never does: what it
                changed cannot be known.
              </p>
            ) : (
              <Silence service={service} from={from} to={to} range={range} cut={unseen !== null} change={change} />
            )
          }
        </Panel>
      </div>
      <Panel title="Commits" note={`By author time in ${service.team.time_zone}, without merges`} answer={commits} holds="calendar">
        {(data) => <CommitCalendar data={data} from={from} />}
      </Panel>
      <DeploymentList service={service} question={question("deployments", { environment, limit: "25" })} />
    </>
  );
}

/** useCondensing looks again every few seconds while days are being condensed. */
function useCondensing(service: Service, looks: (() => void)[]) {
  useEffect(() => {
    if (service.dirty_days === 0) return;
    const timer = setTimeout(() => document.hidden || looks.forEach((look) => look()), 5000);
    return () => clearTimeout(timer);
  }, [service]);
}

/** Silence says why a range holds no deployment, and what to do. */
function Silence(props: { service: Service; from: string; to: string; range: Range; cut: boolean; change: Change }) {
  const { service, from, to, range, cut, change } = props;
  const { first_day: first, last_day: last } = service;
  if (service.dirty_days > 0) return <p class="empty">The history is still being condensed. The figures appear here by themselves.</p>;
  if (first === null || last === null)
    return <p class="empty">Nothing has been recorded for this service yet. Import its repository, then its {service.deployed_by}s count as deployments.</p>;
  if (range === "all")
    return (
      <p class="empty">
        {`No deployment from ${shortDay(from)} to ${shortDay(to)}. A ${service.deployed_by} counts as one; perhaps the pattern of its name differs.`}
      </p>
    );
  return (
    <div class="empty">
      <p>{last < from || first > to ? `No activity in this range: the history goes from ${shortDay(first)} to ${shortDay(last)}.` : "No deployment in this range."}</p>
      <button type="button" class="quiet" onClick={() => change({ range: "all" })}>
        {cut ? "Show the history's last 5 years" : "Show the whole history"}
      </button>
    </div>
  );
}

function Segments<V extends string>(props: { name: string; values: readonly V[]; chosen: V; label: (v: V) => string; choose: (v: V) => void }) {
  return (
    <fieldset class="segments">
      <legend class="sr">{props.name}</legend>
      {props.values.map((value) => (
        <label key={value}>
          <input type="radio" name={props.name} value={value} checked={value === props.chosen} onChange={() => props.choose(value)} />
          <span>{props.label(value)}</span>
        </label>
      ))}
    </fieldset>
  );
}
