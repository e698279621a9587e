// How days become strips of a calendar, and commits become shades.

import { daysBetween } from "./days";
import { year } from "./words";

/** split returns one strip for a year, or one for each calendar year of more. */
export function split(from: string, to: string): { from: string; to: string }[] {
  if (daysBetween(from, to) <= 366) return [{ from, to }];
  const strips = [];
  for (let y = Number(year(to)); y >= Number(year(from)); y--) {
    const first = `${y}-01-01`;
    const last = `${y}-12-31`;
    strips.push({ from: first > from ? first : from, to: last < to ? last : to });
  }
  return strips;
}

/** levels returns the least commits of levels 2, 3 and 4: the quartiles of active days. */
export function levels(perDay: number[]): number[] {
  const sorted = perDay.toSorted((a, b) => a - b);
  return [0.25, 0.5, 0.75].map((q) => (sorted[Math.floor(q * sorted.length)] ?? 0) + 1);
}

export function level(commits: number, bounds: number[]): number {
  return commits === 0 ? 0 : 1 + bounds.filter((b) => commits >= b).length;
}
