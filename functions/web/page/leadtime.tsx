import type { ChangeLeadTime } from "./answers";
import { Chart } from "./chart";
import type { Bucket } from "./days";
import { axisDuration, counted, duration } from "./words";

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;
const steps = [
  ...[1, 2, 5, 10, 15, 30].map((n) => n * minute),
  ...[1, 2, 3, 6, 12].map((n) => n * hour),
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].map((n) => n * day),
];

/** LeadTimeChart shows the median change and the slow ones. */
export function LeadTimeChart({ data, bucket }: { data: ChangeLeadTime; bucket: Bucket }) {
  return (
    <Chart
      label={`Change lead time per ${bucket}`}
      bucket={bucket}
      spans={data.buckets}
      series={[
        // p50 on top of p90 and smaller: where there is one change they are one point.
        { name: "p90", color: "--second", values: data.buckets.map((b) => b.p90), kind: "line", point: 8 },
        { name: "p50", color: "--accent", values: data.buckets.map((b) => b.p50), kind: "line", point: 5 },
      ]}
      steps={steps}
      write={duration}
      writeAxis={axisDuration}
      more={(i) => `n = ${counted(data.buckets[i]?.n ?? 0, "change")}`}
    />
  );
}
