# The whole of it, with both front doors, both databases and both Redis.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_resource "google_storage_bucket" {
    defaults = { project_number = 123456789012 }
  }
}
mock_provider "upstash" {}

variables {
  project_id                = "acme-dash"
  project_number            = "123456789012"
  github_owner_id           = "65"
  github_repository_id      = "74"
  upstash_email             = "ops@acme.example"
  upstash_api_key           = "0123456789abcdef0123456789abcdef"
  migrator_password         = "0123456789abcdef01234567"
  migrator_password_version = 1
  alert_emails              = ["ops@acme.example"]
  secret_values             = {}
}

run "gateway" {
  command = plan

  assert {
    condition     = toset(keys(google_cloud_run_v2_service.function)) == toset(jsondecode(file("functions.json")).functions[*].name)
    error_message = "A service for each function, and no other."
  }
  assert {
    condition     = [for name, s in google_cloud_run_v2_service.function : name if s.invoker_iam_disabled] == ["web"]
    error_message = "The page's function alone is public."
  }
  assert {
    condition = toset([for i in google_cloud_run_v2_service_iam_member.invoker : "${i.name} by ${split("@", i.member)[0]}"]) == toset([
      "auth by serviceAccount:fn-web", "health by serviceAccount:fn-web", "metrics by serviceAccount:fn-web", "refresh by serviceAccount:fn-web",
      "rollup by serviceAccount:cron-rollup-condense", "rollup by serviceAccount:cron-rollup-prune", "rollup by serviceAccount:cron-rollup-mail",
      "auth by serviceAccount:deploy-auth", "health by serviceAccount:deploy-health", "metrics by serviceAccount:deploy-metrics",
      "refresh by serviceAccount:deploy-refresh", "rollup by serviceAccount:deploy-rollup", "web by serviceAccount:deploy-web",
    ])
    error_message = "Who may call what."
  }

  # The shape.
  assert {
    condition = alltrue([for f in jsondecode(file("functions.json")).functions : (
      google_cloud_run_v2_service.function[f.name].template[0].timeout == "${f.timeout_seconds}s" &&
      google_cloud_run_v2_service.function[f.name].template[0].max_instance_request_concurrency == f.concurrency &&
      google_cloud_run_v2_service.function[f.name].template[0].service_account == "fn-${f.name}@acme-dash.iam.gserviceaccount.com" &&
      google_cloud_run_v2_service.function[f.name].template[0].containers[0].resources[0].limits == tomap({ cpu = "1", memory = "${f.memory_mib}Mi" }) &&
      google_cloud_run_v2_service.function[f.name].template[0].containers[0].resources[0].cpu_idle &&
      google_cloud_run_v2_service.function[f.name].template[0].containers[0].resources[0].startup_cpu_boost &&
      google_cloud_run_v2_service.function[f.name].template[0].scaling[0].min_instance_count == 0 &&
      google_cloud_run_v2_service.function[f.name].deletion_protection &&
      google_cloud_run_v2_service.function[f.name].ingress == "INGRESS_TRAFFIC_ALL"
    )])
    error_message = "Timeout, concurrency, account, limits and scaling are the manifest's."
  }
  assert {
    condition = { for name, s in google_cloud_run_v2_service.function : name => s.template[0].scaling[0].max_instance_count } == {
      auth = 2, health = 2, metrics = 2, refresh = 1, rollup = 1, web = 4
    }
    error_message = "As many instances as their pools allow, and one for the scheduler."
  }

  # Settings.
  assert {
    condition = { for e in google_cloud_run_v2_service.function["web"].template[0].containers[0].env : e.name => e.value } == {
      FUNCTION_URLS = "auth=https://auth-123456789012.europe-west1.run.app,health=https://health-123456789012.europe-west1.run.app,metrics=https://metrics-123456789012.europe-west1.run.app,refresh=https://refresh-123456789012.europe-west1.run.app"
      PUBLIC_ORIGIN = "https://web-123456789012.europe-west1.run.app"
    }
    error_message = "The gateway knows those behind it, and not the scheduler's."
  }
  assert {
    condition = { for e in google_cloud_run_v2_service.function["refresh"].template[0].containers[0].env : e.name => e.value } == {
      CLIENT_ADDRESS_HEADER = "X-Dashboard-Client"
      PUBLIC_ORIGIN         = "https://web-123456789012.europe-west1.run.app"
      DATABASE_INSTANCE     = "acme-dash:europe-west1:dashboard"
      DATABASE_USER         = "fn-refresh@acme-dash.iam"
      DATABASE_POOL         = "32"
      ACCESS_PUBLIC_KEYS    = "sm://projects/acme-dash/secrets/ACCESS_PUBLIC_KEYS/versions/latest"
      ACCESS_SIGNING_KEYS   = "sm://projects/acme-dash/secrets/ACCESS_SIGNING_KEYS/versions/latest"
      REFRESH_KEYS          = "sm://projects/acme-dash/secrets/REFRESH_KEYS/versions/latest"
    }
    error_message = "A function behind the gateway has its settings and references to its secrets."
  }
  assert {
    condition     = !contains(google_cloud_run_v2_service.function["rollup"].template[0].containers[0].env[*].name, "CLIENT_ADDRESS_HEADER")
    error_message = "The scheduler sets no address."
  }
  assert {
    condition     = alltrue(flatten([for s in google_cloud_run_v2_service.function : [for e in s.template[0].containers[0].env : length(e.value_source) == 0]]))
    error_message = "No secret reaches a function as a value."
  }
  assert {
    condition = toset([for r in google_secret_manager_secret_iam_member.reader : "${r.secret_id} by ${split("@", r.member)[0]} as ${r.role}"]) == toset([for pair in [
      "ACCESS_PUBLIC_KEYS by serviceAccount:fn-auth", "ACCESS_PUBLIC_KEYS by serviceAccount:fn-metrics", "ACCESS_PUBLIC_KEYS by serviceAccount:fn-refresh",
      "ACCESS_SIGNING_KEYS by serviceAccount:fn-auth", "ACCESS_SIGNING_KEYS by serviceAccount:fn-refresh",
      "REFRESH_KEYS by serviceAccount:fn-auth", "REFRESH_KEYS by serviceAccount:fn-refresh",
      "REDIS_URL by serviceAccount:fn-auth", "REDIS_URL by serviceAccount:fn-health", "REDIS_URL by serviceAccount:fn-metrics",
      "DATABASE_URL-migrate by serviceAccount:migrate",
    ] : "${pair} as roles/secretmanager.secretAccessor"])
    error_message = "Each secret is read by those that declare it."
  }
  assert {
    condition     = length(google_secret_manager_secret_version.operator) == 0 && length(google_secret_manager_secret_version.redis) == 1 && length(google_secret_manager_secret_version.migrator) == 1
    error_message = "Terraform writes what it makes, and no other secret unasked."
  }

  # The database.
  assert {
    condition = (
      google_sql_database_instance.this[0].settings[0].edition == "ENTERPRISE" &&
      google_sql_database_instance.this[0].deletion_protection && google_sql_database_instance.this[0].settings[0].deletion_protection_enabled &&
      google_sql_database_instance.this[0].settings[0].backup_configuration[0].enabled &&
      google_sql_database_instance.this[0].settings[0].backup_configuration[0].point_in_time_recovery_enabled &&
      google_sql_database_instance.this[0].settings[0].connector_enforcement == "REQUIRED" &&
      { for f in google_sql_database_instance.this[0].settings[0].database_flags : f.name => f.value } == { "cloudsql.iam_authentication" = "on", max_connections = "100" }
    )
    error_message = "Backups to any moment, no deletion, no way in without a connector, logins without passwords."
  }
  assert {
    condition     = { for name, u in google_sql_user.function : name => "${u.type} ${u.name}" } == { for name in ["auth", "health", "metrics", "refresh", "rollup"] : name => "CLOUD_IAM_SERVICE_ACCOUNT fn-${name}@acme-dash.iam" }
    error_message = "A login for each function that declares the database, and no other."
  }
  assert {
    condition = { for e in google_cloud_run_v2_job.migrate.template[0].template[0].containers[0].env : e.name => e.value } == {
      DATABASE_URL     = "sm://projects/acme-dash/secrets/DATABASE_URL-migrate/versions/latest"
      DATABASE_MEMBERS = "auth=fn-auth@acme-dash.iam,health=fn-health@acme-dash.iam,metrics=fn-metrics@acme-dash.iam,refresh=fn-refresh@acme-dash.iam,rollup=fn-rollup@acme-dash.iam"
    }
    error_message = "The migrations know whose login is whose."
  }
  assert {
    condition     = output.connections == 65
    error_message = "2 x 4 + 2 x 4 + 2 x 4 + 1 x 32 + 1 x 4, and 5."
  }

  # Redis.
  assert {
    condition     = upstash_redis_database.this[0].tls && !upstash_redis_database.this[0].eviction
    error_message = "Encrypted, and nothing is forgotten."
  }

  # Schedules.
  assert {
    condition = { for name, j in google_cloud_scheduler_job.this : name => [j.schedule, j.time_zone, j.attempt_deadline, j.http_target[0].http_method, j.http_target[0].uri, j.http_target[0].oidc_token[0].audience, j.http_target[0].oidc_token[0].service_account_email] } == {
      rollup-condense = ["*/2 * * * *", "Etc/UTC", "300s", "POST", "https://rollup-123456789012.europe-west1.run.app/api/rollup/condense", "https://rollup-123456789012.europe-west1.run.app", "cron-rollup-condense@acme-dash.iam.gserviceaccount.com"]
      rollup-mail     = ["* * * * *", "Etc/UTC", "300s", "POST", "https://rollup-123456789012.europe-west1.run.app/api/rollup/mail", "https://rollup-123456789012.europe-west1.run.app", "cron-rollup-mail@acme-dash.iam.gserviceaccount.com"]
      rollup-prune    = ["17 * * * *", "Etc/UTC", "300s", "POST", "https://rollup-123456789012.europe-west1.run.app/api/rollup/prune", "https://rollup-123456789012.europe-west1.run.app", "cron-rollup-prune@acme-dash.iam.gserviceaccount.com"]
    }
    error_message = "The audience is the service's address, not the path's."
  }

  # What is watched.
  assert {
    condition     = alltrue([for a in concat(values(google_monitoring_alert_policy.threshold), google_monitoring_alert_policy.schedule, values(google_monitoring_alert_policy.objective)) : can(regex("See infra/RUNBOOK.md, section \"[^\"]+\"\\.$", a.documentation[0].content))])
    error_message = "Each alert says where to read on."
  }
  assert {
    condition     = toset(keys(google_monitoring_alert_policy.threshold)) == toset(["connections", "errors", "latency", "uptime"]) && length(google_monitoring_alert_policy.schedule) == 1
    error_message = "Errors, latency, connections, the way in, the schedules."
  }
  assert {
    condition = (
      google_monitoring_uptime_check_config.front_door[0].monitored_resource[0].labels == tomap({ project_id = "acme-dash", host = "web-123456789012.europe-west1.run.app" }) &&
      google_monitoring_uptime_check_config.front_door[0].http_check[0].path == "/api/health" && google_monitoring_uptime_check_config.front_door[0].http_check[0].use_ssl
    )
    error_message = "The health is asked for where browsers come in."
  }
  assert {
    condition     = length(google_monitoring_slo.function) == 11 && length(google_billing_budget.month) == 0
    error_message = "Two promises for each function, one for what only the scheduler waits for."
  }

  # Nothing of the other front door.
  assert {
    condition     = length(google_compute_url_map.https) + length(google_compute_backend_service.function) + length(google_compute_global_address.this) == 0
    error_message = "A gateway pays for no load balancer."
  }
  assert {
    condition     = output.url == "https://web-123456789012.europe-west1.run.app" && output.address == null
    error_message = "The dashboard is at the gateway."
  }
}

# Applied, since a policy's rules are not known before.
run "load_balancer" {
  command   = apply
  state_key = "load_balancer"

  variables {
    front_door = "load_balancer"
    domain     = "dash.acme.example"
  }

  assert {
    condition = { for name, s in google_cloud_run_v2_service.function : name => "${s.invoker_iam_disabled} ${s.default_uri_disabled} ${s.ingress}" } == merge(
      { for name in ["auth", "health", "metrics", "refresh", "web"] : name => "true true INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" },
      { rollup = "false false INGRESS_TRAFFIC_ALL" },
    )
    error_message = "Who is served stands behind the balancer alone; the scheduler's stays private."
  }
  assert {
    condition = toset([for i in google_cloud_run_v2_service_iam_member.invoker : split("@", i.member)[0] if i.name == "rollup"]) == toset([
      "serviceAccount:cron-rollup-condense", "serviceAccount:cron-rollup-prune", "serviceAccount:cron-rollup-mail", "serviceAccount:deploy-rollup",
    ])
    error_message = "The scheduler's functions are called by their schedules."
  }
  assert {
    condition     = !strcontains(jsonencode(values(google_cloud_run_v2_service_iam_member.invoker)[*].member), "serviceAccount:fn-")
    error_message = "No function calls another."
  }
  assert {
    condition = alltrue([for name, s in google_cloud_run_v2_service.function : (
      (contains([for e in s.template[0].containers[0].env : "${e.name}=${e.value}"], "TRUSTED_PROXIES=2") == (name != "rollup")) &&
      contains([for e in s.template[0].containers[0].env : "${e.name}=${e.value}"], "PUBLIC_ORIGIN=https://dash.acme.example") &&
      length(setintersection(s.template[0].containers[0].env[*].name, ["FUNCTION_URLS", "CLIENT_ADDRESS_HEADER"])) == 0
    )])
    error_message = "Two proxies stand before a function, and none forwards."
  }
  assert {
    condition     = toset(keys(google_compute_region_network_endpoint_group.function)) == toset(["auth", "health", "metrics", "refresh", "web"]) && toset(keys(google_compute_backend_service.function)) == toset(["auth", "health", "metrics", "refresh", "web"])
    error_message = "What the scheduler calls is not behind the balancer."
  }
  assert {
    condition     = !strcontains(jsonencode(google_compute_url_map.https[0].path_matcher[0].route_rules[*].match_rules), "rollup")
    error_message = "No path leads to what the scheduler calls."
  }
  assert {
    condition = toset(flatten([for r in google_compute_url_map.https[0].path_matcher[0].route_rules : [for m in r.match_rules : coalesce(m.full_path_match, m.path_template_match, m.prefix_match)]])) == toset(concat(["/"], flatten([
      for f in jsondecode(file("functions.json")).functions : [for r in f.routes : replace(replace(r.path, "{$}", ""), "/\\{[^}]+\\}/", "*") if r.access != "scheduler"]
    ])))
    error_message = "Each route of the manifest, and the rest to the page."
  }
  assert {
    condition = alltrue([for r in google_compute_url_map.https[0].path_matcher[0].route_rules : (
      (length(r.header_action) == 0) == anytrue([for m in r.match_rules : startswith(coalesce(m.full_path_match, m.path_template_match, m.prefix_match), "/api/auth/") || m.full_path_match == "/.well-known/jwks.json"])
    )])
    error_message = "Cookies go to those that declare them."
  }
  assert {
    condition     = alltrue(flatten([for r in google_compute_url_map.https[0].path_matcher[0].route_rules : [for h in r.header_action : h.request_headers_to_remove == tolist(["Cookie"])]]))
    error_message = "What is taken away is the cookie."
  }
  assert {
    condition = alltrue(flatten([for r in google_compute_url_map.https[0].path_matcher[0].route_rules : [for other in google_compute_url_map.https[0].path_matcher[0].route_rules : [
      for m in r.match_rules : r.priority < other.priority if m.full_path_match != null && anytrue([for n in other.match_rules : n.full_path_match == null])
    ]]]))
    error_message = "A path in full is asked for before those with a wildcard."
  }
  assert {
    condition     = alltrue([for r in google_compute_security_policy.this[0].rule : r.preview == (r.priority != 2147483647)])
    error_message = "Cloud Armor refuses nothing yet."
  }
  assert {
    condition = (
      google_compute_managed_ssl_certificate.this[0].managed[0].domains == tolist(["dash.acme.example"]) &&
      google_compute_ssl_policy.this[0].min_tls_version == "TLS_1_2" && google_compute_url_map.redirect[0].default_url_redirect[0].https_redirect &&
      google_compute_global_forwarding_rule.https[0].port_range == "443" && google_compute_global_forwarding_rule.redirect[0].port_range == "80"
    )
    error_message = "HTTPS, and HTTP to it."
  }
  assert {
    condition     = google_monitoring_uptime_check_config.front_door[0].monitored_resource[0].labels.host == "dash.acme.example" && output.url == "https://dash.acme.example"
    error_message = "The dashboard is at the domain."
  }
}

run "addresses_of_your_own" {
  command = plan

  variables {
    database                  = { kind = "url", logins = { auth = "auth_login", rollup = "rollup_login" } }
    redis                     = { kind = "url" }
    upstash_email             = null
    upstash_api_key           = null
    migrator_password         = ""
    migrator_password_version = 0
    secret_versions           = { REDIS_URL = 1, "DATABASE_URL-auth" = 3 }
    secret_values             = { REDIS_URL = "rediss://default:7a9c2f61@redis.acme.example:6379" }
    settings                  = { RATE_LIMIT_SCALE = "2", ALLOWED_ORIGINS = "https://other.acme.example" }
    public_origin             = "https://dash.acme.example"
    budget                    = { billing_account = "012345-6789AB-CDEF01", amount = 50, currency = "EUR" }
  }

  assert {
    condition     = length(google_sql_database_instance.this) + length(google_sql_user.function) + length(google_project_iam_member.database) + length(upstash_redis_database.this) == 0
    error_message = "Nothing is made of what is there."
  }
  assert {
    condition     = toset([for id in keys(google_secret_manager_secret.this) : id if startswith(id, "DATABASE_URL")]) == toset([for f in ["auth", "health", "metrics", "migrate", "refresh", "rollup"] : "DATABASE_URL-${f}"])
    error_message = "An address for each."
  }
  assert {
    condition     = toset([for r in google_secret_manager_secret_iam_member.reader : split("@", r.member)[0] if r.secret_id == "DATABASE_URL-auth"]) == toset(["serviceAccount:fn-auth"])
    error_message = "A function reads its own login's address, and no other does."
  }
  assert {
    condition = { for e in google_cloud_run_v2_service.function["auth"].template[0].containers[0].env : e.name => e.value if !endswith(e.name, "_KEYS") } == {
      CLIENT_ADDRESS_HEADER = "X-Dashboard-Client"
      PUBLIC_ORIGIN         = "https://dash.acme.example"
      ALLOWED_ORIGINS       = "https://other.acme.example"
      RATE_LIMIT_SCALE      = "2"
      DATABASE_POOL         = "4"
      DATABASE_URL          = "sm://projects/acme-dash/secrets/DATABASE_URL-auth/versions/latest"
      REDIS_URL             = "sm://projects/acme-dash/secrets/REDIS_URL/versions/latest"
    }
    error_message = "Settings reach those that declare them."
  }
  assert {
    condition     = !contains(google_cloud_run_v2_service.function["health"].template[0].containers[0].env[*].name, "RATE_LIMIT_SCALE")
    error_message = "And no other."
  }
  assert {
    condition     = contains([for e in google_cloud_run_v2_job.migrate.template[0].template[0].containers[0].env : e.value], "auth=auth_login,rollup=rollup_login") && length(google_cloud_run_v2_job.migrate.template[0].template[0].volumes) == 0
    error_message = "Logins are as the operator says."
  }
  assert {
    condition     = { for id, v in google_secret_manager_secret_version.operator : id => tonumber(v.secret_data_wo_version) } == { REDIS_URL = 1, "DATABASE_URL-auth" = 3 } && length(google_secret_manager_secret_version.migrator) == 0
    error_message = "Terraform writes what it is told to, each in its version."
  }
  assert {
    condition     = google_billing_budget.month[0].amount[0].specified_amount[0].units == "50" && google_billing_budget.month[0].budget_filter[0].projects == toset(["projects/123456789012"])
    error_message = "A budget of this project."
  }

  # The three logins that are not named.
  expect_failures = [check.one_login]
}

# One more line in functions.All.
run "one_more_function" {
  command = plan

  variables {
    database = { max_connections = 120 }
    manifest = jsonencode(merge(jsondecode(file("functions.json")), {
      functions = concat(jsondecode(file("functions.json")).functions, [
        {
          name = "reports", doc = "sends reports.", needs = ["postgres"], timeout_seconds = 60, concurrency = 7, memory_mib = 300, schedules = []
          settings = [
            { name = "DATABASE_URL", doc = "", required = false, secret = true },
            { name = "DATABASE_POOL", doc = "", default = "3", required = false, secret = false },
            { name = "MAIL_TOKEN", doc = "", required = true, secret = true },
            { name = "MAIL_PROXY", doc = "", required = false, secret = true },
          ]
          routes = [{ method = "GET", path = "/api/reports/{report}", access = "bearer" }]
        },
        {
          name      = "digest", doc = "sends a digest.", needs = [], timeout_seconds = 20, concurrency = 1, memory_mib = 128, settings = []
          schedules = [{ name = "weekly", cron = "0 7 * * 1", path = "/api/digest/send" }]
          routes    = [{ method = "POST", path = "/api/digest/send", access = "scheduler" }]
        },
      ])
    }))
  }

  assert {
    condition     = google_service_account.function["reports"].account_id == "fn-reports" && google_service_account.deployer["reports"].account_id == "deploy-reports" && google_service_account.scheduler["digest-weekly"].account_id == "cron-digest-weekly"
    error_message = "It has its accounts."
  }
  assert {
    condition     = google_cloud_run_v2_service.function["reports"].template[0].max_instance_request_concurrency == 7 && google_cloud_run_v2_service.function["reports"].template[0].scaling[0].max_instance_count == 2 && !google_cloud_run_v2_service.function["reports"].invoker_iam_disabled
    error_message = "It has its service, and is private."
  }
  assert {
    condition     = strcontains(one([for e in google_cloud_run_v2_service.function["web"].template[0].containers[0].env : e.value if e.name == "FUNCTION_URLS"]), "reports=https://reports-123456789012.europe-west1.run.app") && contains([for i in google_cloud_run_v2_service_iam_member.invoker : "${i.name} ${i.member}"], "reports serviceAccount:fn-web@acme-dash.iam.gserviceaccount.com")
    error_message = "The gateway knows it and may call it."
  }
  assert {
    condition     = google_sql_user.function["reports"].name == "fn-reports@acme-dash.iam" && contains([for r in google_secret_manager_secret_iam_member.reader : "${r.secret_id} ${r.member}"], "MAIL_TOKEN serviceAccount:fn-reports@acme-dash.iam.gserviceaccount.com") && !contains(keys(google_secret_manager_secret.this), "MAIL_PROXY")
    error_message = "It has a login and its secret, and no secret that is not wanted."
  }
  assert {
    condition     = google_cloud_scheduler_job.this["digest-weekly"].attempt_deadline == "20s" && google_cloud_scheduler_job.this["digest-weekly"].schedule == "0 7 * * 1"
    error_message = "It has its schedule."
  }
  assert {
    condition     = output.wif.deployers["reports"].environment == "prod-reports" && output.connections == 71 && contains(keys(google_monitoring_slo.function), "reports-latency")
    error_message = "It is deployed by its own pipeline, counted, and watched."
  }
}
