// Days as the API writes them ("2026-11-22"), and the ranges made of them. A day
// has no time zone of its own: arithmetic is done on UTC midnights.

const dayMs = 86_400_000;

export const ranges = ["4w", "12w", "6m", "12m", "all"] as const;
export type Range = (typeof ranges)[number];

export const buckets = ["day", "week", "month"] as const;
export type Bucket = (typeof buckets)[number];

const longest = 1827; // days that one question may span
const earliest = "1970-01-01";

/** rangeName names a range; cut is whether the history is longer than "all" can span. */
export function rangeName(range: Range, cut: boolean): string {
  const names: Record<Range, string> = { "4w": "4 weeks", "12w": "12 weeks", "6m": "6 months", "12m": "12 months", all: cut ? "5 years" : "All" };
  return names[range];
}

/** usualBucket is what a range is read in unless the reader says otherwise. */
export const usualBucket: Record<Range, Bucket> = { "4w": "day", "12w": "week", "6m": "week", "12m": "month", all: "month" };

export const toDate = (day: string) => new Date(day + "T00:00:00Z");
export const toDay = (date: Date) => date.toISOString().slice(0, 10);
export const addDays = (day: string, n: number) => toDay(new Date(toDate(day).getTime() + n * dayMs));
export const daysBetween = (from: string, to: string) => (toDate(to).getTime() - toDate(from).getTime()) / dayMs;

/** weekday counts from Monday, 0 to 6. */
export const weekday = (day: string) => (toDate(day).getUTCDay() + 6) % 7;

/** addMonths moves to the same day of another month, or to its last. */
export function addMonths(day: string, n: number): string {
  const date = toDate(day);
  const wanted = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + n);
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(wanted, last));
  return toDay(date);
}

/** knownZone returns a time zone, or UTC for one that this browser, whose list may be older than the server's, does not know. */
export function knownZone(timeZone: string): string {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    return timeZone;
  } catch {
    return "UTC";
  }
}

/** today is the day that it now is in a time zone, as far as that is known. */
export function today(timeZone: string, now = new Date()): string {
  return new Intl.DateTimeFormat("en-CA", { timeZone: knownZone(timeZone), year: "numeric", month: "2-digit", day: "2-digit" }).format(now);
}

const later = (a: string, b: string) => (a > b ? a : b);
const earlier = (a: string, b: string) => (a < b ? a : b);

/** span returns the first and last day of a range that ends today; "all" ends with the history, of which it holds the last five years. */
export function span(range: Range, now: string, first: string | null, last: string | null): { from: string; to: string } {
  switch (range) {
    case "4w":
      return { from: addDays(now, -27), to: now };
    case "12w":
      return { from: addDays(now, -83), to: now };
    case "6m":
      return { from: addDays(addMonths(now, -6), 1), to: now };
    case "12m":
      return { from: addDays(addMonths(now, -12), 1), to: now };
    case "all": {
      const to = later(earliest, earlier(now, last ?? now));
      return { from: later(earliest, later(earlier(first ?? to, to), addDays(to, 1 - longest))), to };
    }
  }
}

/** older returns the days of a history before the first that "all" spans, null where it spans them all. */
export function older(now: string, first: string | null, last: string | null): { from: string; to: string } | null {
  const { from } = span("all", now, first, last);
  return first !== null && first < from ? { from: first, to: addDays(from, -1) } : null;
}
