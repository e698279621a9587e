// Commits per day as a calendar: a column for a week, a row for a weekday.

import { useMemo, useState } from "preact/hooks";
import type { CommitDays } from "./answers";
import { level, levels, split } from "./calendar-rules";
import { addDays, daysBetween, weekday } from "./days";
import { count, counted, longDay, month, year } from "./words";

const pitch = 14; // from one day's square to the next
const square = 11;
const left = 30; // for the weekdays' names
const top = 18; // for the months' names

/** CommitCalendar shows data's days; those before from are outside of the chosen range. */
export function CommitCalendar({ data, from }: { data: CommitDays; from: string }) {
  const commits = useMemo(() => new Map(data.days.map((d) => [d.day, d.commits])), [data]);
  const bounds = useMemo(() => levels(data.days.map((d) => d.commits)), [data]);
  const [at, setAt] = useState<string | null>(null);
  const strips = useMemo(() => split(data.from, data.to), [data.from, data.to]);

  const chosen = at ?? data.to;
  const onKeyDown = (event: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1 };
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const to = at === null ? data.to : addDays(at, move);
    if (to >= data.from && to <= data.to) setAt(to);
  };
  const say = (day: string) => `${longDay(day)}: ${counted(commits.get(day) ?? 0, "commit")}`;

  return (
    <div class="calendar">
      <div
        class="scroll strips"
        role="slider"
        tabIndex={0}
        aria-label="Commits per day. Left and right go by weeks, up and down by days."
        aria-valuemin={0}
        aria-valuemax={daysBetween(data.from, data.to)}
        aria-valuenow={daysBetween(data.from, chosen)}
        aria-valuetext={say(chosen)}
        onKeyDown={onKeyDown}
        onBlur={() => setAt(null)}
        onPointerLeave={() => setAt(null)}
        onPointerOver={(e) => {
          const day = (e.target as SVGElement).dataset["day"];
          if (day) setAt(day);
        }}
        ref={newestFirst}
      >
        {strips.map((strip) => (
          <Strip key={strip.from} {...strip} commits={commits} bounds={bounds} chosenFrom={from} at={at} named={strips.length > 1} />
        ))}
      </div>
      <div class="key">
        <span class="said">{at === null ? `${count(data.total)} commits on ${counted(data.days.length, "day")} shown here` : say(at)}</span>
        <span class="scale" aria-hidden="true">
          Less
          {[0, 1, 2, 3, 4].map((level) => (
            <svg key={level} width={square} height={square}>
              <rect class={"level" + level} width={square} height={square} rx="2" />
            </svg>
          ))}
          More
        </span>
      </div>
    </div>
  );
}

interface StripProps {
  from: string;
  to: string;
  commits: Map<string, number>;
  bounds: number[];
  chosenFrom: string;
  at: string | null;
  named: boolean;
}

function Strip({ from, to, commits, bounds, chosenFrom, at, named }: StripProps) {
  const monday = addDays(from, -weekday(from));
  const weeks = Math.floor(daysBetween(monday, to) / 7) + 1;
  const squares = [];
  const months = [];
  for (let day = from; day <= to; day = addDays(day, 1)) {
    const week = Math.floor(daysBetween(monday, day) / 7);
    const x = left + week * pitch;
    squares.push(
      <rect
        key={day}
        data-day={day}
        class={`level${level(commits.get(day) ?? 0, bounds)}${day < chosenFrom ? " outside" : ""}${day === at ? " at" : ""}`}
        x={x}
        y={top + weekday(day) * pitch}
        width={square}
        height={square}
        rx="2"
      />,
    );
    if (day.endsWith("-01") && week < weeks - 2) {
      months.push(
        <text key={day} x={x} y={11}>
          {month(day)}
        </text>,
      );
    }
  }
  return (
    <div class="strip">
      {named && <h3>{year(to)}</h3>}
      <svg viewBox={`0 0 ${left + 53 * pitch + square} ${top + 7 * pitch}`} aria-hidden="true">
        {months}
        {["Mon", "", "Wed", "", "Fri"].map((name, i) => (
          <text key={i} x={0} y={top + i * pitch + 9}>
            {name}
          </text>
        ))}
        {squares}
      </svg>
    </div>
  );
}

/** newestFirst shows the end of a calendar that is wider than its place. */
function newestFirst(element: HTMLDivElement | null): void {
  element?.scrollTo(element.scrollWidth, 0);
}
