// The session of this browser: who is signed in, and the access token that
// proves it. The token lives in a variable of this module and nowhere else; what
// outlives a reload is the refresh cookie, which scripts cannot read.
//
// - Only a 401 of the refresh route signs out. No answer never does.
// - One refresh at a time over all tabs (a Web Lock); a tab that waited takes
//   the token that the other one was given.
// - Answers may overtake each other and leave an older cookie behind. Each names
//   its generation: if that is lower than the highest seen, the cookie is old, so
//   we refresh again at once.

import type { Profile, SignedIn, Tokens } from "./answers";
import { ask, Refusal, withJSON } from "./http";

const margin = 60_000; // ms before its end at which a token counts as used up
const refreshPatience = 6_000; // ms: all repetitions within the 30 s that a replaced cookie is good for
const highestGen = "refresh-gen"; // localStorage: a number, no secret

let token = "";
let validUntil = 0; // ms since the epoch
let flight: Promise<boolean> | null = null;
let onChange: (signedIn: boolean) => void = () => {};

type Message = { kind: "token"; token: string; validUntil: number } | { kind: "none" } | { kind: "in" } | { kind: "out" };
const tabs = new BroadcastChannel("session");
let heard: () => void = () => {};

tabs.onmessage = ({ data }: MessageEvent<Message>) => {
  heard();
  switch (data.kind) {
    case "token":
      if (token !== "" || flight) ({ token, validUntil } = data);
      break;
    case "in": // perhaps as somebody else: begin afresh
      location.reload();
      break;
    case "out":
      leave();
  }
};

/** watch has change called when the session begins or ends. */
export function watch(change: (signedIn: boolean) => void): void {
  onChange = change;
}

/**
 * resume takes up the session that the browser's cookie stands for and tells
 * whether there is one. It throws Away when nobody could be asked.
 */
export function resume(): Promise<boolean> {
  return fresh() ? Promise.resolve(true) : refresh();
}

/** entrances are the routes that answer with a new session. */
export type Entrance = "/api/auth/login" | "/api/auth/register" | "/api/auth/password/reset" | "/api/auth/github/link" | "/api/auth/github/register";

/**
 * signIn begins a session. before is told of it ahead of everybody else, while the
 * page still shows what led here.
 */
export async function signIn(path: Entrance, body: object, before: (user: Profile) => void = () => {}): Promise<void> {
  const send = (to: Entrance, what: object) => ask<SignedIn>(to, withJSON("POST", what));
  const tokens = await send(path, body).catch((refused: unknown) => {
    const { email, password } = body as Record<string, unknown>;
    const taken = refused instanceof Refusal && ["email_taken", "link_used"].includes(refused.problem.code);
    if (!taken || path !== "/api/auth/register") throw refused;
    // Perhaps by an earlier attempt of ours, whose answer was lost on the way.
    return send("/api/auth/login", { email, password }).catch(() => {
      throw refused;
    });
  });
  before(tokens.user);
  begin(tokens);
  onChange(true);
}

/** changePassword gives the account another, which begins a new session. */
export async function changePassword(body: { current_password: string; new_password: string }): Promise<void> {
  begin(await send<SignedIn>("PUT", "/api/auth/password", body));
}

/** begun is to be called where the server has begun a session while no page was there. */
export function begun(): void {
  remember(0);
  tell({ kind: "in" });
}

function begin(tokens: SignedIn): void {
  remember(tokens.gen);
  take(tokens, Date.now());
  tell({ kind: "in" });
}

/** signOut ends the session, here, in the other tabs and on the server. */
export async function signOut(): Promise<void> {
  await ask("/api/auth/logout", { method: "POST" });
  end();
}

/** signOutBy is signOut by a route that also ends other things. */
export async function signOutBy(path: "/api/auth/logout-everywhere" | "/api/auth/me/delete", body?: object): Promise<void> {
  await send("POST", path, body);
  end();
}

function end(): void {
  tell({ kind: "out" });
  leave();
}

/** get asks for a path as the signed-in user and returns the JSON answer. */
export function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return asUser<T>(path, { signal: signal ?? null });
}

/** send has something changed as the signed-in user and returns the JSON answer, if there is one. */
export function send<T = void>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: object): Promise<T> {
  return asUser<T>(path, withJSON(method, body));
}

/** asUser is ask for the signed-in user. */
export async function asUser<T>(path: string, init: RequestInit, read?: (answer: Response) => Promise<T>): Promise<T> {
  const authorized = () => ask<T>(path, { ...init, headers: { ...(init.headers as object), Authorization: `Bearer ${token}` } }, undefined, read);
  if (!fresh() && !(await refresh())) throw signedOut();
  try {
    return await authorized();
  } catch (error) {
    if (!(error instanceof Refusal) || error.problem.status !== 401) throw error;
    validUntil = 0; // refused before its time: a clock is wrong, or a key was changed
    if (!(await refresh())) throw signedOut();
    return authorized();
  }
}

function signedOut(): Refusal {
  return new Refusal({ status: 401, code: "signed_out", detail: "You have been signed out. Sign in again." });
}

const fresh = () => token !== "" && Date.now() < validUntil - margin;

/** refresh gets a new access token; false means that the session has ended. */
function refresh(): Promise<boolean> {
  flight ??= alone(rotate).finally(() => (flight = null));
  return flight;
}

async function alone(work: () => Promise<boolean>): Promise<boolean> {
  // Absent outside of secure contexts; the grace of the server covers for it.
  if (!navigator.locks) return work();
  const first = await navigator.locks.request("refresh", { ifAvailable: true }, (lock) => (lock ? work() : null));
  if (first !== null) return first;
  // Another tab is at it. What it says and its lock may arrive in any order; a
  // tab that dies says nothing, and is not waited for long.
  const word = new Promise<void>((resolve) => (heard = resolve));
  return navigator.locks.request("refresh", async () => {
    await Promise.race([word, new Promise((resolve) => setTimeout(resolve, 1000))]);
    return work();
  });
}

async function rotate(): Promise<boolean> {
  if (fresh()) return true; // another tab was given one while this one waited
  let outcome: Message = { kind: "none" };
  try {
    // Once is right; a few times, since each answer may be overtaken. More would
    // only mean that the number kept here belongs to another session.
    for (let again = 0; again < 3; again++) {
      const asked = Date.now();
      const tokens = await ask<Tokens>("/api/auth/refresh", { method: "POST", keepalive: true }, refreshPatience);
      take(tokens, asked);
      if (tokens.gen >= highest()) break;
    }
    outcome = { kind: "token", token, validUntil };
    return true;
  } catch (error) {
    if (!(error instanceof Refusal) || error.problem.status !== 401) throw error;
    leave();
    return false;
  } finally {
    tell(outcome);
  }
}

function take(tokens: Tokens, asked: number): void {
  token = tokens.access_token;
  validUntil = asked + tokens.expires_in * 1000;
  if (tokens.gen > highest()) remember(tokens.gen);
}

function leave(): void {
  token = "";
  validUntil = 0;
  remember(0);
  onChange(false);
}

function tell(message: Message): void {
  tabs.postMessage(message);
}

// Storage may be forbidden by the browser's settings; then each tab counts for
// itself.
let counted = 0;

function highest(): number {
  try {
    return Number(localStorage.getItem(highestGen)) || 0;
  } catch {
    return counted;
  }
}

function remember(gen: number): void {
  counted = gen;
  try {
    localStorage.setItem(highestGen, String(gen));
  } catch {
    // counted stands in for it
  }
}
