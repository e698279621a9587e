// What the API answers, as far as the pages read it. /api/docs has the whole.

export type Role = "owner" | "editor" | "viewer";

export interface Team {
  id: string;
  name: string;
  role: Role;
  time_zone: string;
}

export interface Profile {
  id: string;
  email: string;
  name: string;
  teams: Team[];
}

export interface RegistrationRule {
  mode: "open" | "invite" | "closed";
  github: boolean;
  mail: boolean;
}

export interface ShownLink {
  kind: "owner" | "invitation" | "password";
  team: string;
  role: Role | "";
  by: string;
}

export interface Member {
  id: string;
  name: string;
  email: string;
  role: Role;
  since: string;
}

export interface Invitation {
  id: string;
  role: Role;
  for: string;
  by: string;
  expires_at: string;
}

export interface APIToken {
  id: string;
  name: string;
  scope: "read" | "report";
  by: string;
  expires_at: string;
  last_used_at: string | null;
}

export interface TrustedRepository {
  id: string;
  repository_id: string;
  repository_owner_id: string;
  name: string;
  environment: string;
  by: string;
  created_at: string;
}

export interface Session {
  id: string;
  current: boolean;
  device: string;
  created_at: string;
  last_seen_at: string;
}

export interface GitHubLink {
  login: string | null;
  password: boolean;
}

export interface AuditEvent {
  id: number;
  at: string;
  kind: string;
  by: { id: string; name: string } | null;
  detail: Record<string, unknown>;
}

export interface AuditEvents {
  events: AuditEvent[];
  next: string | null;
}

/** Tokens is what sign-in and refresh have in common. */
export interface Tokens {
  access_token: string;
  expires_in: number; // seconds
  gen: number; // counts the refreshes of one session
}

export interface SignedIn extends Tokens {
  user: Profile;
}

export interface Service {
  id: string;
  name: string;
  deployed_by: string;
  repository: { id: string; name: string };
  team: { id: string; name: string; time_zone: string };
  environments: { id: string; name: string; kind: string }[];
  first_day: string | null;
  last_day: string | null;
  dirty_days: number;
}

export interface Span {
  start: string;
  end: string;
  complete: boolean;
}

export interface DeploymentFrequency {
  time_zone: string;
  from: string;
  to: string;
  total: {
    deployments: number;
    failed: number;
    days: number;
    per_day: number;
    days_with_deployments: number;
    median_days_per_week: number | null;
  };
  buckets: (Span & { deployments: number; failed: number })[];
}

/** Lead is a set of samples, in seconds; percentiles are null when n is 0. */
export interface Lead {
  n: number;
  exact: boolean;
  excluded: number;
  p50: number | null;
  p75: number | null;
  p90: number | null;
  p95: number | null;
}

export interface ChangeLeadTime {
  total: Lead;
  buckets: (Span & Lead)[];
}

export interface CommitDays {
  from: string;
  to: string;
  total: number;
  days: { day: string; commits: number }[];
}

export interface Deployment {
  id: string;
  ref: string;
  sha: string;
  status: string;
  finished_at: string | null;
  baseline: boolean;
  changes: number;
  excluded: number;
  lead_p50: number | null;
}

export interface Deployments {
  deployments: Deployment[];
  next: string | null;
}

export interface Change {
  sha: string;
  subject: string;
  author: string;
  authored_at: string;
  lead_seconds: number;
  excluded: boolean;
}

export interface Changes {
  changes: Change[];
  next: string | null;
}

/** Problem is an RFC 9457 document. */
export interface Problem {
  status: number;
  code: string;
  detail: string;
  request_id?: string;
  errors?: { location: string; message: string }[];
}
