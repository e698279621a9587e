// What the reader looks at, kept in the address, so that it can be shared, put
// on a wall and stepped back through.

import { useEffect, useState } from "preact/hooks";
import { buckets, ranges, usualBucket, type Bucket, type Range } from "./days";

export interface Choice {
  team?: string;
  service?: string;
  environment?: string;
  range?: Range;
  bucket?: Bucket;
}

/** parse reads a choice from an address's query; what it does not know is left out. */
export function parse(query: string): Choice {
  const values = new URLSearchParams(query);
  const choice: Choice = {};
  const team = values.get("team");
  const service = values.get("service");
  const environment = values.get("environment");
  const range = ranges.find((r) => r === values.get("range"));
  const bucket = buckets.find((b) => b === values.get("bucket"));
  if (team) choice.team = team;
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

/** Part changes some of a choice; undefined takes away. */
export type Part = { [K in keyof Choice]?: Choice[K] | undefined };

/** changed returns a choice with a part of it changed. */
export function changed(choice: Choice, part: Part): Choice {
  const next: Part = { ...choice, ...part };
  // Another team has other services.
  if (part.team !== choice.team && "team" in part) Object.assign(next, { service: undefined, environment: undefined }, part);
  // The usual bucket goes without saying, so that it follows the range.
  if (next.range && next.bucket === usualBucket[next.range]) delete next.bucket;
  return Object.fromEntries(Object.entries(next).filter(([, value]) => value !== undefined));
}

/** teamOf returns the id of the team that is looked at: the chosen one, that of the chosen service, or the first that has something to show. */
export function teamOf(choice: Choice, teams: { id: string }[], services: { id: string; team: { id: string } }[]): string | undefined {
  const chosen = teams.find((t) => t.id === choice.team)?.id;
  return chosen ?? services.find((s) => s.id === choice.service)?.team.id ?? services[0]?.team.id ?? teams[0]?.id;
}

/** useChoice returns the choice and what changes parts of it. */
export function useChoice(): [Choice, (part: Part) => void] {
  const [choice, setChoice] = useState(() => parse(location.search));
  useEffect(() => {
    const back = () => setChoice(parse(location.search));
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, []);
  const change = (part: Part) => {
    const next = changed(choice, part);
    history.pushState(null, "", location.pathname + print(next) + location.hash);
    setChoice(next);
  };
  return [choice, change];
}
