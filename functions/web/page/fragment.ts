// What an address brings behind its #, which no server is sent: a link that
// somebody was given, what became of signing in with GitHub, or which view to show.

const outcomes = ["signed-in", "link", "register", "denied", "expired", "unverified", "disabled", "unavailable"] as const;
export type Outcome = (typeof outcomes)[number];

/** Arrival is what has led somebody here. The address loses it as soon as it is read. */
export type Arrival = { by: "link"; secret: string } | { by: "github"; became: Outcome; login: string; name: string; email: string };

/** read returns what a fragment brings, null if that is nothing to take out of it. */
export function read(fragment: string): Arrival | null {
  const values = new URLSearchParams(fragment.replace(/^#/, ""));
  for (const kind of ["invitation", "password", "owner"]) {
    const secret = values.get(kind);
    if (secret !== null) return { by: "link", secret: secret.trim() };
  }
  const became = outcomes.find((o) => o === values.get("github"));
  if (!became) return null;
  const about = (name: string) => (values.get(name) ?? "").slice(0, 254);
  return { by: "github", became, login: about("login"), name: about("name"), email: about("email") };
}

/** take reads the address and has it forget a secret, also on the way back. */
export function take(): Arrival | null {
  const arrival = read(location.hash);
  if (arrival) history.replaceState(null, "", location.pathname + location.search);
  return arrival;
}

/** secretIn returns the secret of a link that somebody pastes, whole or not. */
export function secretIn(pasted: string): string {
  const at = pasted.lastIndexOf("=");
  return pasted.slice(at + 1).trim();
}

export const views = ["figures", "team", "machines", "log", "account"] as const;
export type View = (typeof views)[number];

/** viewOf returns what a fragment wants to be shown. */
export function viewOf(fragment: string): View {
  const view = new URLSearchParams(fragment.replace(/^#/, "")).get("settings");
  return view === null ? "figures" : (views.find((v) => v === view) ?? "team");
}

/** fragmentOf is the inverse of viewOf. */
export function fragmentOf(view: View): string {
  return view === "figures" ? "#" : view === "team" ? "#settings" : "#settings=" + view;
}
