import type { DeploymentFrequency } from "./answers";
import { Chart, type Series } from "./chart";
import type { Bucket } from "./days";
import { count, none } from "./words";

const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

/** FrequencyChart shows how often was deployed, and how often that failed. */
export function FrequencyChart({ data, bucket }: { data: DeploymentFrequency; bucket: Bucket }) {
  const succeeded = data.buckets.map((b) => b.deployments);
  const series: Series[] = [{ name: "Deployments", color: "--accent", values: succeeded, kind: "bar" }];
  if (data.total.failed > 0) {
    // Behind the others and as high as both, so that it shows on top of them.
    const failed = data.buckets.map((b) => b.failed);
    const heights = data.buckets.map((b) => b.deployments + b.failed);
    series.unshift({ name: "Failed", color: "--bad", values: failed, heights, kind: "bar" });
  }
  return (
    <Chart
      label={`Deployments per ${bucket}`}
      bucket={bucket}
      spans={data.buckets}
      series={series}
      steps={steps}
      write={(n) => (n === null ? none : count(n))}
      writeAxis={count}
    />
  );
}
