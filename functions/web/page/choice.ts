// What the reader looks at, kept in the address, so that it can be shared, put
// on a wall and stepped back through.

import { useEffect, useState } from "preact/hooks";
import { buckets, ranges, usualBucket, type Bucket, type Range } from "./days";

export interface Choice {
  service?: string;
  environment?: string;
  range?: Range;
  bucket?: Bucket;
}

/** parse reads a choice from an address's query; what it does not know is left out. */
export function parse(query: string): Choice {
  const values = new URLSearchParams(query);
  const choice: Choice = {};
  const service = values.get("service");
  const environment = values.get("environment");
  const range = ranges.find((r) => r === values.get("range"));
  const bucket = buckets.find((b) => b === values.get("bucket"));
  if (service) choice.service = service;
  if (environment) choice.environment = environment;
  if (range) choice.range = range;
  if (bucket) choice.bucket = bucket;
  return choice;
}

/** print is the inverse of parse. */
export function print(choice: Choice): string {
  const query = new URLSearchParams(Object.entries(choice)).toString();
  return query === "" ? "" : "?" + query;
}

/** useChoice returns the choice and what changes parts of it. */
export function useChoice(): [Choice, (change: Choice) => void] {
  const [choice, setChoice] = useState(() => parse(location.search));
  useEffect(() => {
    const back = () => setChoice(parse(location.search));
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, []);
  const change = (part: Choice) => {
    const next = { ...choice, ...part };
    // The usual bucket goes without saying, so that it follows the range.
    if (next.range && next.bucket === usualBucket[next.range]) delete next.bucket;
    history.pushState(null, "", location.pathname + print(next));
    setChoice(next);
  };
  return [choice, change];
}
