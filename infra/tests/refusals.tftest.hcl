# What is not right is refused at the plan, each with a sentence that says what to
# do (variables.tf). A round spoils every variable in one of the ways that it can be
# wrong; the comment beside it says which.

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
}

# Those that are judged by themselves.

run "round_1" {
  command = plan

  variables {
    project_id                = "123456789012"                                                            # project number for its id
    project_number            = "acme-dash"                                                               # project id for its number
    region                    = "europe-west1-b"                                                          # region is a zone
    github_owner_id           = "acme"                                                                    # owner by name
    github_repository_id      = "acme/dash"                                                               # repository by name
    github_branch             = "refs/heads/main"                                                         # branch as a ref
    github_workflow           = "deploy"                                                                  # workflow by name
    pool_id                   = "gcp-github"                                                              # pool of google
    provider_id               = "gcp-dash"                                                                # provider of google
    front_door                = "alb"                                                                     # front door unknown
    database                  = { kind = "alloydb" }                                                      # database unknown
    database_pools            = { refresh = 0 }                                                           # pool of none
    max_instances             = { auth = 0 }                                                              # instances none
    migrator_password         = "hunter2"                                                                 # password too short
    migrator_password_version = -1                                                                        # password version negative
    redis                     = { kind = "memorystore" }                                                  # redis unknown
    settings                  = { issuer = "acme" }                                                       # setting in lower case
    secret_versions           = { REFRESH_KEYS = 0 }                                                      # secret version zero
    alert_emails              = ["ops"]                                                                   # alert to a name
    budget                    = { billing_account = "billingAccounts/012345-6789AB-CDEF01", amount = 50 } # budget of an account as a path
  }

  expect_failures = [var.project_id, var.project_number, var.region, var.github_owner_id, var.github_repository_id, var.github_branch, var.github_workflow, var.pool_id, var.provider_id, var.front_door, var.database, var.database_pools, var.max_instances, var.migrator_password, var.migrator_password_version, var.redis, var.settings, var.secret_versions, var.alert_emails, var.budget]
}

run "round_2" {
  command = plan

  variables {
    project_id           = "Acme-Dash"                                                                                # project id in upper case
    project_number       = "projects/123456789012"                                                                    # project number as a path
    region               = "EUROPE-WEST1"                                                                             # region in upper case
    github_owner_id      = "*"                                                                                        # owner with a wildcard
    github_repository_id = "74 "                                                                                      # repository with a space
    github_branch        = "release/*"                                                                                # branch with a wildcard
    github_workflow      = ".github/workflows/deploy.yml@refs/heads/main"                                             # workflow with a branch
    pool_id              = "projects/1/locations/global/workloadIdentityPools/github"                                 # pool as a path
    provider_id          = "Dashboard"                                                                                # provider in upper case
    database             = { instance = "acme-dash:europe-west1:dashboard" }                                          # database as a connection name
    migrator_password    = "0123456789abcdef@0123456789"                                                              # password that breaks an address
    redis                = { name = "Dashboard" }                                                                     # redis name in upper case
    settings             = { ISSUER = "" }                                                                            # setting empty
    alert_emails         = ["a@b.example", "c@b.example", "d@b.example", "e@b.example", "f@b.example", "g@b.example"] # alert to too many
    budget               = { billing_account = "012345-6789AB-CDEF01", amount = 0 }                                   # budget of nothing
  }

  expect_failures = [var.project_id, var.project_number, var.region, var.github_owner_id, var.github_repository_id, var.github_branch, var.github_workflow, var.pool_id, var.provider_id, var.database, var.migrator_password, var.redis, var.settings, var.alert_emails, var.budget]
}

run "round_3" {
  command = plan

  variables {
    project_id           = "acme dash"                                                               # project id with a space
    project_number       = ""                                                                        # project number empty
    region               = "eu"                                                                      # region of several
    github_owner_id      = ""                                                                        # owner empty
    github_repository_id = "74' || true || '"                                                        # repository with a quote
    github_branch        = "main' || '1' == '1"                                                      # branch with a quote
    github_workflow      = ".github/workflows/*.yml"                                                 # workflow with a wildcard
    pool_id              = "GitHub"                                                                  # pool in upper case
    provider_id          = "a23456789012345678901234567890123"                                       # provider too long
    database             = { version = "POSTGRES_15" }                                               # database too old
    migrator_password    = "changeme-changeme-changeme"                                              # password that is a placeholder
    redis                = { primary_region = "europe-west1" }                                       # redis region of google
    settings             = { ISSUER = " acme" }                                                      # setting with spaces
    budget               = { billing_account = "012345-6789AB-CDEF01", amount = 50, currency = "$" } # budget in a sign
  }

  expect_failures = [var.project_id, var.project_number, var.region, var.github_owner_id, var.github_repository_id, var.github_branch, var.github_workflow, var.pool_id, var.provider_id, var.database, var.migrator_password, var.redis, var.settings, var.budget]
}

run "round_4" {
  command = plan

  variables {
    project_id           = ""                 # project id empty
    project_number       = "123456789012 "    # project number with a space
    github_repository_id = ""                 # repository empty
    github_branch        = ""                 # branch empty
    pool_id              = "gh"               # pool too short
    database             = { version = "16" } # database version alone
  }

  expect_failures = [var.project_id, var.project_number, var.github_repository_id, var.github_branch, var.pool_id, var.database]
}

run "round_5" {
  command = plan

  variables {
    project_id     = "projects/acme-dash"               # project id as a path
    project_number = "0123456789"                       # project number zero
    database       = { tier = "db-perf-optimized-N-2" } # database of another edition
  }

  expect_failures = [var.project_id, var.project_number, var.database]
}

run "round_6" {
  command = plan

  variables {
    project_id = "acme-*"        # project id with a wildcard
    database   = { disk_gb = 5 } # database disk too small
  }

  expect_failures = [var.project_id, var.database]
}

run "round_7" {
  command = plan

  variables {
    project_id = "acme"                     # project id too short
    database   = { max_connections = 99.5 } # database connections in parts
  }

  expect_failures = [var.project_id, var.database]
}

run "round_8" {
  command = plan

  variables {
    database = { logins = { auth = "auth" } } # database logins beside cloud sql
  }

  expect_failures = [var.database]
}

run "round_9" {
  command = plan

  variables {
    database = { kind = "url", logins = { auth = "a,b=c" } } # database login of two
  }

  expect_failures = [var.database]
}

# Those that are judged beside another.

run "round_10" {
  command = plan

  variables {
    domain          = "dash.acme.example"                               # domain without a front door
    public_origin   = "http://dash.acme.example"                        # origin without encryption
    upstash_email   = "ops"                                             # upstash email that is none
    upstash_api_key = "changeme-changeme"                               # upstash key that is a placeholder
    secret_values   = { REFRESH_KEYS = "{\"keys\":[{\"kid\":\"a\"}]}" } # secret written nowhere
  }

  expect_failures = [var.domain, var.public_origin, var.upstash_email, var.upstash_api_key, var.secret_values]
}

run "round_11" {
  command = plan

  variables {
    public_origin   = "https://dash.acme.example/" # origin with a path
    upstash_api_key = "x"                          # upstash key too short
  }

  expect_failures = [var.public_origin, var.upstash_api_key]
}

# Those that take more than one value, or a resource.

run "project_number_of_another" {
  command = plan

  variables {
    project_number = "999999999999"
  }

  expect_failures = [data.google_project.this]
}

run "front_door_without_a_domain" {
  command = plan

  variables {
    domain     = null
    front_door = "load_balancer"
  }

  expect_failures = [var.domain]
}

run "domain_as_an_origin" {
  command = plan

  variables {
    domain     = "https://dash.acme.example"
    front_door = "load_balancer"
  }

  expect_failures = [var.domain]
}

run "domain_in_upper_case" {
  command = plan

  variables {
    domain     = "Dash.acme.example"
    front_door = "load_balancer"
  }

  expect_failures = [var.domain]
}

run "domain_with_a_wildcard" {
  command = plan

  variables {
    domain     = "*.acme.example"
    front_door = "load_balancer"
  }

  expect_failures = [var.domain]
}

run "origin_beside_a_domain" {
  command = plan

  variables {
    public_origin = "https://dash.acme.example"
    front_door    = "load_balancer"
    domain        = "dash.acme.example"
  }

  expect_failures = [var.public_origin]
}

run "database_login_of_nobody" {
  command = plan

  variables {
    database                  = { kind = "url", logins = { web = "web", auth = "a", health = "h", metrics = "m", refresh = "r", rollup = "o" } }
    migrator_password_version = 0
  }

  expect_failures = [google_cloud_run_v2_job.migrate]
}

run "no_password_yet" {
  command = plan

  variables {
    migrator_password_version = 0
  }

  expect_failures = [google_sql_database_instance.this]
}

run "upstash_without_an_account" {
  command = plan

  variables {
    upstash_email = null
  }

  expect_failures = [var.upstash_email]
}

run "upstash_without_a_key" {
  command = plan

  variables {
    upstash_api_key = null
  }

  expect_failures = [var.upstash_api_key]
}

run "secret_placeholder_changeme" {
  command = plan

  variables {
    secret_values   = { OTHER_SECRET = "changeme" }
    secret_versions = { OTHER_SECRET = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_placeholder_default" {
  command = plan

  variables {
    secret_values   = { OTHER_SECRET = "DEFAULT_VALUE" }
    secret_versions = { OTHER_SECRET = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_placeholder_empty" {
  command = plan

  variables {
    secret_values   = { OTHER_SECRET = "" }
    secret_versions = { OTHER_SECRET = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_placeholder_xs" {
  command = plan

  variables {
    secret_values   = { OTHER_SECRET = "xxxxxxxxxxxx" }
    secret_versions = { OTHER_SECRET = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_placeholder_brackets" {
  command = plan

  variables {
    secret_values   = { OTHER_SECRET = "<the address of redis>" }
    secret_versions = { OTHER_SECRET = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_placeholder_unexpanded" {
  command = plan

  variables {
    secret_values   = { OTHER_SECRET = "$${REDIS_URL}" }
    secret_versions = { OTHER_SECRET = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_placeholder_yours" {
  command = plan

  variables {
    secret_values   = { OTHER_SECRET = "your-redis-address" }
    secret_versions = { OTHER_SECRET = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_placeholder_spaces" {
  command = plan

  variables {
    secret_values   = { OTHER_SECRET = "            " }
    secret_versions = { OTHER_SECRET = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_database_without_a_password" {
  command = plan

  variables {
    secret_values   = { "DATABASE_URL-auth" = "postgres://db.acme.example/dashboard" }
    secret_versions = { "DATABASE_URL-auth" = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_database_unencrypted" {
  command = plan

  variables {
    secret_values   = { "DATABASE_URL-auth" = "postgres://a:b7a9c2f61@db.acme.example/dashboard?sslmode=disable" }
    secret_versions = { "DATABASE_URL-auth" = 1 }
  }

  expect_failures = [var.secret_values, terraform_data.invariants]
}

run "secret_redis_unencrypted" {
  command = plan

  variables {
    redis           = { kind = "url" }
    secret_values   = { REDIS_URL = "redis://default:b7a9c2f61@redis.acme.example:6379" }
    secret_versions = { REDIS_URL = 1 }
  }

  expect_failures = [var.secret_values]
}

run "secret_keys_that_are_none" {
  command = plan

  variables {
    secret_values   = { REFRESH_KEYS = "b7a9c2f61b7a9c2f61" }
    secret_versions = { REFRESH_KEYS = 1 }
  }

  expect_failures = [var.secret_values]
}

run "secret_of_nobody" {
  command = plan

  variables {
    secret_versions = { SENTRY_DSN = 1 }
  }

  expect_failures = [terraform_data.invariants]
}

run "secret_that_terraform_makes" {
  command = plan

  variables {
    secret_versions = { REDIS_URL = 1 }
  }

  expect_failures = [google_secret_manager_secret_version.operator]
}

run "alert_to_nobody" {
  command = plan

  variables {
    alert_emails = []
  }

  expect_failures = [check.somebody_is_told]
}

# Those that Google would find later, or nobody.

run "bucket_with_a_long_name" {
  command = plan

  variables {
    project_id = "acme-dash-of-thirty-characters"
    region     = "northamerica-northeast1"
  }

  expect_failures = [google_storage_bucket.sources]
}

run "bucket_of_another" {
  command = plan

  override_resource {
    target          = google_storage_bucket.sources
    override_during = plan
    values          = { project_number = 999999999999 }
  }

  expect_failures = [google_storage_bucket.sources]
}

run "builds_of_nobody" {
  command = plan

  override_data {
    target = data.google_project_iam_policy.this
    values = { policy_data = "{\"bindings\":[{\"role\":\"roles/cloudbuild.builds.builder\",\"members\":[\"serviceAccount:123456789012@cloudbuild.gserviceaccount.com\"]}]}" }
  }

  expect_failures = [check.builds_of_nobody]
}
