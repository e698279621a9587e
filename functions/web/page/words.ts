// Figures and dates in words: short, and never more exact than they are.

import { toDate } from "./days";

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** none stands where there is no figure; never a 0. */
export const none = "–";

const whole = new Intl.NumberFormat("en-GB");

/** count writes a whole number. */
export const count = (n: number) => whole.format(n);

/** counted writes a number and its noun: "1 day", "2 days". */
export const counted = (n: number, noun: string) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

/** rounded writes a number with two digits that mean something: 0.25, 2.3, 14. */
export function rounded(n: number): string {
  if (n === 0) return "0";
  const digits = n >= 10 ? 0 : n >= 1 ? 1 : 2;
  return n < 0.01 ? "< 0.01" : whole.format(Number(n.toFixed(digits)));
}

/** duration writes seconds as people say them: 45 s, 12 min, 4 h 20 min, 3.1 d. */
export function duration(seconds: number | null): string {
  if (seconds === null) return none;
  if (seconds < 0) return "−" + duration(-seconds);
  if (Math.round(seconds) < minute) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / minute);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 24 * 60) {
    const rest = minutes % 60;
    return `${Math.floor(minutes / 60)} h` + (rest > 0 ? ` ${rest} min` : "");
  }
  const days = seconds / day;
  return days < 99.95 ? `${whole.format(Number(days.toFixed(1)))} d` : `${count(Math.round(days))} d`;
}

/** axisDuration writes a round number of seconds for an axis. */
export function axisDuration(seconds: number): string {
  if (seconds === 0) return "0";
  if (seconds % day === 0) return `${count(seconds / day)} d`;
  if (seconds % hour === 0) return `${seconds / hour} h`;
  return `${Math.round(seconds / minute)} min`;
}

const format = (options: Intl.DateTimeFormatOptions) => {
  const made = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
  return (day: string) => made.format(toDate(day));
};

/** longDay writes a day in full: Sun 22 Nov 2026. */
export const longDay = format({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
export const shortDay = format({ day: "numeric", month: "short", year: "numeric" });
export const dayOfMonth = format({ day: "numeric", month: "short" });
export const month = format({ month: "short" });
export const monthOfYear = format({ month: "short", year: "numeric" });
export const year = (day: string) => day.slice(0, 4);

/** moment writes an instant as a clock in a time zone shows it, by default the reader's. */
export function moment(instant: string, timeZone?: string): string {
  return new Intl.DateTimeFormat("en-GB", {
    ...(timeZone ? { timeZone } : {}),
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  }).format(new Date(instant));
}

/** dayOf writes the day of an instant, where the reader is. */
export const dayOf = (instant: string) => new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" }).format(new Date(instant));

// A joiner, and the signs that stand before Arabic numbers, belong to what they join.
const unseen = /(?![\u200c\u200d\u0600-\u0605\u06dd])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0]/gu;

/** visible writes characters that are not seen, or that turn what stands around them, as their numbers. */
export const visible = (text: string) => text.replace(unseen, (c) => `[U+${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`);

/** isolated is visible for where no markup can be: the text's direction ends with it. */
export const isolated = (text: string) => `\u2068${visible(text)}\u2069`;
