-- +goose Up
-- Rollups: what the dashboard reads, one row per scope and local day, computed
-- from facts alone by rollup. A day without facts has no row.

CREATE TABLE rollup_deployments (
  environment_id uuid NOT NULL REFERENCES environments(id) ON DELETE CASCADE,
  day            date NOT NULL,
  deployed       int NOT NULL,                       -- finished with success
  failed         int NOT NULL,
  changes        int NOT NULL,
  PRIMARY KEY (environment_id, day)
);

-- Samples of one metric on one day: sorted, whole seconds, exact up to 2,000; a
-- sketch past that (DDSketch, relative error 1 %), so that percentiles over any
-- range are computed from samples and never from percentiles.
CREATE TABLE rollup_samples (
  environment_id uuid NOT NULL REFERENCES environments(id) ON DELETE CASCADE,
  metric         text NOT NULL CHECK (metric IN ('change_lead_time')),
  day            date NOT NULL,
  n              int NOT NULL,
  excluded       int NOT NULL,                       -- kept in facts and left out of samples: negative or absurd
  samples        int[],
  sketch         bytea,
  PRIMARY KEY (environment_id, metric, day),
  CHECK ((samples IS NULL) <> (sketch IS NULL))
);

CREATE TABLE rollup_commits (
  repository_id uuid NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
  day           date NOT NULL,
  commits       int NOT NULL,                        -- without merges, by author time
  PRIMARY KEY (repository_id, day)
);

-- +goose Down
DROP TABLE rollup_commits, rollup_samples, rollup_deployments;
