# What follows from a manifest, and which manifests are refused. Nothing here needs a
# provider.

variables {
  manifest          = file("../../functions.json")
  project_id        = "acme-dash"
  project_number    = "123456789012"
  region            = "europe-west1"
  pool_name         = "projects/123456789012/locations/global/workloadIdentityPools/github"
  repository_id     = "74"
  front_door        = "gateway"
  database_instance = "acme-dash:europe-west1:dashboard"
  max_connections   = 100
}

run "the_manifest_of_the_house" {
  command = plan

  variables {
    database_pools = { refresh = 8 }
  }

  assert {
    condition     = output.door == "web" && toset(output.public) == toset(["web"]) && toset(output.behind) == toset(["auth", "health", "metrics", "refresh"])
    error_message = "The page's function stands before the others, the scheduler's is behind nobody."
  }
  assert {
    condition = { for key, value in output.functions["rollup"].env : key => value if startswith(key, "SCHEDULER_") } == {
      SCHEDULER_ACCOUNTS  = "/api/rollup/condense=cron-rollup-condense@acme-dash.iam.gserviceaccount.com,/api/rollup/prune=cron-rollup-prune@acme-dash.iam.gserviceaccount.com"
      SCHEDULER_AUDIENCE  = output.schedules["rollup-prune"].audience
      SCHEDULER_SIGNATURE = "removed"
    } && !anytrue([for name, f in output.functions : contains(keys(f.env), "SCHEDULER_ACCOUNTS") if name != "rollup"])
    error_message = "A schedule's function knows the accounts of its jobs and the audience of their tokens."
  }
  # Of 8 each, and the scheduler's one of 4, and 5.
  assert {
    condition     = output.connections == 41 && output.functions["refresh"].max_instances == 1 && output.functions["refresh"].env.DATABASE_POOL == "8"
    error_message = "A smaller pool is what the function is told, and what is counted."
  }
  assert {
    condition     = output.health_path == "/api/health" && output.functions["auth"].paths[0] == "/.well-known/jwks.json" && contains(output.functions["auth"].paths, "/api/auth/sessions/*") && contains(output.functions["web"].paths, "/")
    error_message = "Paths as a load balancer knows them."
  }
}

run "a_smaller_pool_allows_more" {
  command = plan

  variables {
    database_pools = { auth = 1, refresh = 2 }
  }

  assert {
    condition     = output.functions["auth"].max_instances == 8 && output.functions["refresh"].max_instances == 4 && output.connections == 41
    error_message = "Instances are as many as hold 8 connections together."
  }
}

run "an_optional_secret" {
  command = plan

  variables {
    optional_secrets = ["MAIL_PROXY"]
    manifest         = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [{ name = "MAIL_PROXY", doc = "", required = false, secret = true }], schedules = [], routes = [{ method = "GET", path = "/api/extra", access = "bearer" }] }]) }))
  }

  assert {
    condition     = output.functions["extra"].env.MAIL_PROXY == "sm://projects/acme-dash/secrets/MAIL_PROXY/versions/latest" && output.secrets["MAIL_PROXY"][0] == "extra"
    error_message = "A secret that is wanted is there."
  }
}

run "a_secret_of_the_frame" {
  command = plan

  variables {
    optional_secrets = ["SENTRY_DSN"]
  }

  assert {
    condition     = alltrue([for f in values(output.functions) : f.env.SENTRY_DSN == "sm://projects/acme-dash/secrets/SENTRY_DSN/versions/latest"]) && toset(output.secrets["SENTRY_DSN"]) == toset(keys(output.functions))
    error_message = "Every function reads it."
  }
}

run "connections_run_out" {
  command = plan

  variables {
    max_connections = 80
  }

  expect_failures = [output.connections]
}

run "too_many_instances" {
  command = plan

  variables {
    max_instances = { refresh = 2 }
  }

  expect_failures = [output.connections]
}

run "no_manifest" {
  command = plan

  variables {
    manifest = "{}"
  }

  expect_failures = [var.manifest]
}

run "two_of_one_name" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "auth", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [{ method = "GET", path = "/api/extra", access = "bearer" }] }]) }))
  }

  expect_failures = [var.manifest]
}

run "name_in_upper_case" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "Extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [{ method = "GET", path = "/api/extra", access = "bearer" }] }]) }))
  }

  expect_failures = [var.manifest]
}

run "name_too_short" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "ab", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [{ method = "GET", path = "/api/extra", access = "bearer" }] }]) }))
  }

  expect_failures = [var.manifest]
}

run "name_too_long" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "abcdefghijklmnopqrstuvwx", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [{ method = "GET", path = "/api/extra", access = "bearer" }] }]) }))
  }

  expect_failures = [var.manifest]
}

run "name_that_is_taken" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "migrate", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [{ method = "GET", path = "/api/extra", access = "bearer" }] }]) }))
  }

  expect_failures = [var.manifest]
}

run "schedule_name_too_long" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [{ name = "abcdefghijklmnopqrst", cron = "* * * * *", path = "/api/extra/do" }], routes = [{ method = "POST", path = "/api/extra/do", access = "scheduler" }] }]) }))
  }

  expect_failures = [var.manifest]
}

run "two_doors" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [{ method = "GET", path = "/{$}", access = "public" }] }]) }))
  }

  expect_failures = [output.functions]
}

run "no_door" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = [for f in jsondecode(file("../../functions.json")).functions : f if f.name != "web"] }))
  }

  expect_failures = [output.functions]
}

run "scheduled_and_public" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [{ method = "POST", path = "/api/extra/do", access = "scheduler" }, { method = "GET", path = "/api/extra", access = "public" }] }]) }))
  }

  expect_failures = [output.functions]
}

run "called_by_nobody" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [] }]) }))
  }

  expect_failures = [output.functions]
}

run "a_path_of_two" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [{ method = "PUT", path = "/api/auth/me", access = "bearer" }] }]) }))
  }

  expect_failures = [output.functions]
}

run "a_pattern_of_two" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [], routes = [{ method = "GET", path = "/api/auth/sessions/{other}", access = "bearer" }] }]) }))
  }

  expect_failures = [output.functions]
}

run "schedule_without_a_route" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [], schedules = [{ name = "do", cron = "* * * * *", path = "/api/extra/other" }], routes = [{ method = "POST", path = "/api/extra/do", access = "scheduler" }] }]) }))
  }

  expect_failures = [output.functions]
}

run "schedule_too_quick" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 10, concurrency = 1, memory_mib = 128, settings = [], schedules = [{ name = "do", cron = "* * * * *", path = "/api/extra/do" }], routes = [{ method = "POST", path = "/api/extra/do", access = "scheduler" }] }]) }))
  }

  expect_failures = [output.functions]
}

run "setting_of_nobody" {
  command = plan

  variables {
    settings = { ISUER = "acme" }
  }

  expect_failures = [output.functions]
}

run "secret_among_the_settings" {
  command = plan

  variables {
    settings = { REFRESH_KEYS = "a" }
  }

  expect_failures = [output.functions]
}

run "setting_of_terraform" {
  command = plan

  variables {
    settings = { DATABASE_POOL = "4" }
  }

  expect_failures = [output.functions]
}

run "setting_required" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [{ name = "PLACE", doc = "", required = true, secret = false }], schedules = [], routes = [{ method = "GET", path = "/api/extra", access = "bearer" }] }]) }))
  }

  expect_failures = [output.functions]
}

run "optional_secret_of_nobody" {
  command = plan

  variables {
    optional_secrets = ["CHAT_TOKEN"]
  }

  expect_failures = [output.functions]
}

run "optional_secret_that_is_required" {
  command = plan

  variables {
    optional_secrets = ["REFRESH_KEYS"]
  }

  expect_failures = [output.functions]
}

run "pool_of_nobody" {
  command = plan

  variables {
    database_pools = { aut = 2 }
  }

  expect_failures = [output.functions]
}

run "instances_of_nobody" {
  command = plan

  variables {
    max_instances = { aut = 2 }
  }

  expect_failures = [output.functions]
}

run "pool_without_a_database" {
  command = plan

  variables {
    database_pools = { web = 2 }
  }

  expect_failures = [output.functions]
}

run "secret_name_refused" {
  command = plan

  variables {
    manifest = jsonencode(merge(jsondecode(file("../../functions.json")), { functions = concat(jsondecode(file("../../functions.json")).functions, [{ name = "extra", doc = "is one more.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = [{ name = "MAIL.TOKEN", doc = "", required = true, secret = true }], schedules = [], routes = [{ method = "GET", path = "/api/extra", access = "bearer" }] }]) }))
  }

  expect_failures = [output.secrets]
}
