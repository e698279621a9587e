// A chart over buckets: bars or lines on an even axis, read by pointer, by arrow
// keys and as a table.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import type { Span } from "./answers";
import type { Bucket } from "./days";
import { dayOfMonth, longDay, month, monthOfYear, shortDay, year } from "./words";

export interface Series {
  name: string;
  color: string; // a custom property of the style sheet
  values: (number | null)[];
  heights?: (number | null)[]; // where they are drawn, if not at their values: stacked bars
  kind: "bar" | "line";
  point?: number; // the diameter of a line's points
}

export interface ChartProps {
  label: string;
  bucket: Bucket;
  spans: Span[];
  series: Series[];
  steps: number[]; // by which the vertical axis may count
  write: (value: number | null) => string;
  writeAxis: (value: number) => string;
  more?: (index: number) => string; // a further line about one bucket
}

const height = 232;
const labelWidth = 64; // the least distance between labels of the horizontal axis

export function Chart(props: ChartProps) {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const latest = useRef(props);
  latest.current = props;
  const [at, setAt] = useState<number | null>(null);
  const scheme = useScheme();
  const shape = props.bucket + props.series.map((s) => s.name).join();

  useLayoutEffect(() => {
    const parent = frame.current!;
    const made = new uPlot(options(latest, parent.clientWidth, setAt), table(props), parent);
    plot.current = made;
    const resize = new ResizeObserver(() => {
      if (parent.clientWidth !== made.width) made.setSize({ width: parent.clientWidth, height });
    });
    resize.observe(parent);
    return () => {
      resize.disconnect();
      made.destroy();
      plot.current = undefined;
      setAt(null);
    };
  }, [shape, scheme]);

  useEffect(() => {
    plot.current?.setData(table(props));
  }, [props.spans, props.series]);

  const last = props.spans.length - 1;
  const go = (index: number) => {
    const made = plot.current;
    if (!made) return;
    const to = Math.max(0, Math.min(last, index));
    made.setCursor({ left: made.valToPos(to, "x"), top: made.over.clientHeight / 2 });
    setAt(to);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowLeft: (at ?? last + 1) - 1, ArrowRight: (at ?? -1) + 1, Home: 0, End: last };
    const to = moves[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  };

  const shown = at !== null && props.spans[at] ? at : null;
  return (
    <figure class="chart">
      <Legend series={props.series} />
      <div
        class="plot"
        role="slider"
        tabIndex={0}
        aria-label={props.label + ". Arrow keys go from one to the next."}
        aria-valuemin={0}
        aria-valuemax={last}
        aria-valuenow={shown ?? last}
        aria-valuetext={describe(props, shown ?? last)}
        onKeyDown={onKeyDown}
        onBlur={() => {
          plot.current?.setCursor({ left: -10, top: -10 });
          setAt(null);
        }}
      >
        <div ref={frame} />
        {shown !== null && plot.current && <Tip props={props} index={shown} plot={plot.current} />}
      </div>
      <AsTable {...props} />
    </figure>
  );
}

/** title names a bucket, and says where the range holds only a part of it. */
function title({ bucket, spans }: ChartProps, index: number): string {
  const s = spans[index]!;
  const partial = s.complete ? "" : index === spans.length - 1 ? ", so far" : ", in part";
  if (bucket === "day" || s.start === s.end) return longDay(s.start) + partial;
  if (bucket === "month") return monthOfYear(s.start) + partial;
  return `${dayOfMonth(s.start)} – ${shortDay(s.end)}${partial}`;
}

function describe(props: ChartProps, index: number): string {
  if (!props.spans[index]) return "";
  const parts = props.series.map((series) => `${series.name} ${props.write(series.values[index] ?? null)}`);
  const more = props.more?.(index);
  return [title(props, index), ...parts, ...(more ? [more] : [])].join(", ");
}

function Tip({ props, index, plot }: { props: ChartProps; index: number; plot: uPlot }) {
  const left = plot.over.offsetLeft + plot.valToPos(index, "x");
  const right = left > plot.width / 2;
  const side = right ? { right: `${plot.width - left + 12}px` } : { left: `${left + 12}px` };
  return (
    <div class="tip" style={side} aria-hidden="true">
      <b>{title(props, index)}</b>
      {props.series.map((s) => (
        <span key={s.name}>
          <i style={{ background: `var(${s.color})` }} /> {s.name} <em>{props.write(s.values[index] ?? null)}</em>
        </span>
      ))}
      {props.more && <small>{props.more(index)}</small>}
    </div>
  );
}

function Legend({ series }: { series: Series[] }) {
  if (series.length < 2) return null;
  return (
    <div class="legend" aria-hidden="true">
      {series.map((s) => (
        <span key={s.name}>
          <i style={{ background: `var(${s.color})` }} />
          {s.name}
        </span>
      ))}
    </div>
  );
}

function AsTable(props: ChartProps) {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>As a table</summary>
      {open && (
        <div class="scroll" tabIndex={0} role="region" aria-label={props.label}>
          <table>
            <thead>
              <tr>
                <th scope="col">{props.bucket.charAt(0).toUpperCase() + props.bucket.slice(1)}</th>
                {props.series.map((s) => (
                  <th key={s.name} scope="col" class="number">
                    {s.name}
                  </th>
                ))}
                {props.more && <th scope="col">Rests on</th>}
              </tr>
            </thead>
            <tbody>
              {props.spans.map((s, i) => (
                <tr key={s.start}>
                  <th scope="row">{title(props, i)}</th>
                  {props.series.map((series) => (
                    <td key={series.name} class="number">
                      {props.write(series.values[i] ?? null)}
                    </td>
                  ))}
                  {props.more && <td>{props.more(i)}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

function table(props: ChartProps): uPlot.AlignedData {
  return [props.spans.map((_, i) => i), ...props.series.map((s) => s.heights ?? s.values)];
}

/** options describes the plot; what changes with the data is read from latest. */
function options(latest: { current: ChartProps }, width: number, setAt: (index: number | null) => void): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const font = "12px " + getComputedStyle(document.body).fontFamily;
  const axis: uPlot.Axis = { font, stroke: color("--soft"), ticks: { show: false } };
  return {
    width,
    height,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: latest.current.series.some((s) => s.kind === "line"), size: 8 } },
    scales: {
      x: { time: false, range: (_, _min, max) => [-0.5, Math.max(0, max) + 0.5] },
      y: { range: (_, _min, max) => [0, max > 0 ? max * 1.08 : latest.current.steps[0]! * 2] },
    },
    axes: [
      {
        ...axis,
        size: 28,
        gap: 6,
        grid: { show: false },
        splits: (u) => labelled(latest.current, u.bbox.width / devicePixelRatio),
        values: (_, at) => at.map((i) => axisLabel(latest.current, i)),
      },
      {
        ...axis,
        size: (_, values) => 14 + 7 * Math.max(2, ...(values ?? []).map((v) => String(v).length)),
        gap: 6,
        incrs: latest.current.steps,
        space: 44,
        grid: { stroke: color("--line"), width: 1 },
        values: (_, at) => at.map((v) => latest.current.writeAxis(v)),
      },
    ],
    series: [{}, ...latest.current.series.map((s) => drawn(latest, s, color(s.color), color("--panel")))],
    hooks: { setCursor: [(u) => setAt(u.cursor.idx ?? null)] },
  };
}

function drawn(latest: { current: ChartProps }, s: Series, color: string, behind: string): uPlot.Series {
  if (s.kind === "line") {
    // Always with points: a bucket between two empty ones has no line.
    return { label: s.name, stroke: color, width: 2, points: { show: true, size: s.point ?? 5, width: 1.5, fill: behind, stroke: color }, spanGaps: false };
  }
  const pale = mix(color, behind); // of what is not whole yet
  const fill = () => latest.current.spans.map((b) => (b.complete ? color : pale));
  return {
    label: s.name,
    fill: color,
    width: 0,
    points: { show: false },
    paths: uPlot.paths.bars!({
      size: [0.72, 44],
      radius: [0.15, 0],
      disp: { fill: { unit: 3, values: fill } },
    }),
  };
}

/** mix returns the color half way between two of the form #rrggbb. */
function mix(a: string, b: string): string {
  const half = (i: number) => Math.round((parseInt(a.slice(i, i + 2), 16) + parseInt(b.slice(i, i + 2), 16)) / 2);
  return `rgb(${half(1)} ${half(3)} ${half(5)})`;
}

/** labelled returns which buckets have a label: evenly many, none too close. */
function labelled({ spans }: ChartProps, width: number): number[] {
  const step = Math.max(1, Math.ceil((spans.length * labelWidth) / Math.max(width, 1)));
  const at = [];
  for (let i = Math.floor((step - 1) / 2); i < spans.length; i += step) at.push(i);
  return at;
}

function axisLabel({ spans, bucket }: ChartProps, index: number): string {
  const s = spans[index];
  if (!s) return "";
  const years = year(spans[0]!.start) !== year(spans[spans.length - 1]!.start);
  if (bucket === "month") return years ? monthOfYear(s.start) : month(s.start);
  return years && spans.length > 60 ? monthOfYear(s.start) : dayOfMonth(s.start);
}

function useScheme(): boolean {
  const [query] = useState(() => matchMedia("(prefers-color-scheme: dark)"));
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const change = () => setDark(query.matches);
    query.addEventListener("change", change);
    return () => query.removeEventListener("change", change);
  }, []);
  return dark;
}

