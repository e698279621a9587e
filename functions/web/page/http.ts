// One request, repeated while the way to the server or what stands behind it is
// away. Who is signed in is left to session.ts.

import type { Problem } from "./answers";

/** Refusal is an answer that says no, and why. */
export class Refusal extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** Away means that no answer came, however often it was asked for. */
export class Away extends Error {}

const pauses = [200, 1000, 5000]; // ms before each repetition

/** withJSON is what sends a body. */
export function withJSON(method: string, body?: object): RequestInit {
  if (!body) return { method };
  return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

/** json reads an answer that is empty or JSON. */
async function json<T>(answer: Response): Promise<T> {
  const text = await answer.text();
  return text === "" ? (undefined as T) : JSON.parse(text);
}

/**
 * ask sends a request and returns what read makes of its 2xx answer, its JSON
 * unless said otherwise. It throws Refusal or Away. patience is how long a silent
 * server is waited for, each time, in ms.
 */
export async function ask<T>(path: string, init: RequestInit = {}, patience = 20_000, read: (answer: Response) => Promise<T> = json): Promise<T> {
  let last = new Away("The server cannot be reached.");
  for (let attempt = 0; attempt <= pauses.length; attempt++) {
    if (attempt > 0) await pause(pauses[attempt - 1]!, init.signal);
    try {
      const answer = await fetch(path, { cache: "no-store", ...init, signal: limited(init.signal, patience) });
      if (answer.ok) return await read(answer);
      const problem = await problemOf(answer);
      if (!temporary(answer.status)) throw new Refusal(problem);
      last = new Away(problem.detail);
    } catch (error) {
      // Anything else is a connection that failed, or an answer that broke off.
      if (error instanceof Refusal || init.signal?.aborted) throw error;
    }
  }
  throw last;
}

/** temporary tells whether the same request may succeed a moment later. */
function temporary(status: number): boolean {
  return status === 408 || status >= 500;
}

function limited(signal: AbortSignal | null | undefined, patience: number): AbortSignal {
  const timeout = AbortSignal.timeout(patience);
  return signal ? AbortSignal.any([signal, timeout]) : timeout;
}

function pause(ms: number, signal: AbortSignal | null | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

async function problemOf(answer: Response): Promise<Problem> {
  const unknown = { status: answer.status, code: "unknown", detail: `The server answered ${answer.status}.` };
  try {
    return { ...unknown, ...(await answer.json()) };
  } catch {
    return unknown;
  }
}

/** explain says in words what went wrong, for people. */
export function explain(error: unknown): string {
  if (error instanceof Refusal) {
    const { detail, errors, request_id: id } = error.problem;
    const parts = (errors ?? []).filter((e) => e.message !== detail);
    if (parts.length > 0) return parts.map((e) => `${field(e.location)}: ${e.message}`).join(". ") + ".";
    return error.problem.status >= 500 && id ? `${detail} (request ${id})` : detail;
  }
  if (error instanceof Away) return error.message;
  return "Something in this page went wrong. Reload it; if that does not help, tell whoever runs it.";
}

function field(location: string): string {
  const name = location.slice(location.lastIndexOf(".") + 1).replaceAll("_", " ");
  return name.charAt(0).toUpperCase() + name.slice(1);
}
