# Which pipeline may be whom. A pipeline is a job with a GitHub environment; the
# matrix of pipelines and accounts has to be the identity.

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

run "pipelines" {
  command = plan

  assert {
    condition = toset([for i in google_service_account_iam_member.impersonation : "${i.member} ${i.role} ${i.service_account_id}" if !startswith(i.member, "serviceAccount:")]) == toset([for name in concat(jsondecode(file("functions.json")).functions[*].name, ["migrate"]) :
      "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/attribute.deployer/74:prod-${name} roles/iam.workloadIdentityUser projects/acme-dash/serviceAccounts/deploy-${name}@acme-dash.iam.gserviceaccount.com"
    ])
    error_message = "An environment opens its own deployer's account, and no other."
  }

  # Through its deployer each pipeline may run code as these accounts. But for the
  # account that builds, which can do nothing but build, they are all different.
  assert {
    condition = { for name in concat(jsondecode(file("functions.json")).functions[*].name, ["migrate"]) : name => sort([
      for i in google_service_account_iam_member.impersonation : i.service_account_id if i.member == "serviceAccount:deploy-${name}@acme-dash.iam.gserviceaccount.com" && i.role == "roles/iam.serviceAccountUser"
      ]) } == { for name in concat(jsondecode(file("functions.json")).functions[*].name, ["migrate"]) : name => sort([
      "projects/acme-dash/serviceAccounts/builder@acme-dash.iam.gserviceaccount.com",
      "projects/acme-dash/serviceAccounts/${name == "migrate" ? "" : "fn-"}${name}@acme-dash.iam.gserviceaccount.com",
    ]) }
    error_message = "A deployer acts as its own function's account and the one that builds."
  }
  assert {
    condition = toset([for i in google_service_account_iam_member.impersonation : "${split("@", i.member)[0]} ${split("@", i.service_account_id)[0]}" if i.role == "roles/iam.serviceAccountOpenIdTokenCreator"]) == toset([
      for name in jsondecode(file("functions.json")).functions[*].name : "serviceAccount:deploy-${name} projects/acme-dash/serviceAccounts/deploy-${name}"
    ])
    error_message = "A function's deployer makes ID tokens of itself, and of nobody else."
  }
  assert {
    condition     = length(google_service_account_iam_member.impersonation) == 4 * length(jsondecode(file("functions.json")).functions) + 3
    error_message = "And nobody else is given anything on an account."
  }
  assert {
    condition     = toset([for i in google_service_account_iam_member.impersonation : i.role]) == toset(["roles/iam.serviceAccountOpenIdTokenCreator", "roles/iam.serviceAccountUser", "roles/iam.workloadIdentityUser"])
    error_message = "No other role is given on an account, such as one that makes access tokens."
  }
  assert {
    condition     = alltrue([for m in google_project_iam_member.database : m.condition[0].expression == "resource.service == 'sqladmin.googleapis.com' && resource.name == 'projects/acme-dash/instances/dashboard'"])
    error_message = "The database's roles are for this instance."
  }
  assert {
    condition     = !contains([for m in google_project_iam_member.database : m.member], "serviceAccount:fn-web@acme-dash.iam.gserviceaccount.com") && toset([for m in google_project_iam_member.database : m.role if startswith(m.member, "serviceAccount:migrate@")]) == toset(["roles/cloudsql.client"])
    error_message = "Who declares no database has no way to it."
  }
  assert {
    condition     = google_cloud_run_v2_job.migrate.template[0].template[0].service_account == "migrate@acme-dash.iam.gserviceaccount.com"
    error_message = "Migrations run as their own account."
  }
}

# All that is given to anybody: functions/terraform_test.go holds that these are all the
# resources that give something.
run "grants" {
  command = plan

  assert {
    condition = toset([for g in concat(
      [for m in google_project_iam_member.deployer : "${m.member} ${m.role} on the project"],
      [for m in google_project_iam_member.builder[*] : "${m.member} ${m.role} on the project"],
      [for m in google_project_iam_member.database : "${m.member} ${m.role} on ${m.condition[0].title}"],
      [for m in google_cloud_run_v2_service_iam_member.deployer : "${m.member} ${m.role} on ${m.name}"],
      [for m in google_cloud_run_v2_service_iam_member.invoker : "${m.member} ${m.role} on ${m.name}"],
      [for m in google_cloud_run_v2_job_iam_member.deployer[*] : "${m.member} ${m.role} on the job ${m.name}"],
      [for m in google_storage_bucket_iam_member.sources : "${m.member} ${m.role} on ${m.bucket}"],
      [for m in google_artifact_registry_repository_iam_member.images : "${m.member} ${m.role} on ${m.repository}"],
      [for m in google_secret_manager_secret_iam_member.reader : "${m.member} ${m.role} on ${m.secret_id}"],
      [for m in google_service_account_iam_member.impersonation : "${m.member} ${m.role} on ${split("@", basename(m.service_account_id))[0]}" if !startswith(m.member, "principalSet://")],
      ) : replace(g, "@acme-dash.iam.gserviceaccount.com", "")]) == toset(concat(

      # A deployer: builds, uploads and reads what was built, changes its own, asks it,
      # and acts as its own, the account that builds, and itself.
      flatten([for name in concat(jsondecode(file("functions.json")).functions[*].name, ["migrate"]) : [for grant in concat(
        [
          "projects/acme-dash/roles/dashboardDeployer_project on the project", "roles/logging.logWriter on the project", "roles/serviceusage.serviceUsageConsumer on the project",
          "projects/acme-dash/roles/dashboardDeployer_sources on run-sources-acme-dash-europe-west1", "roles/artifactregistry.reader on cloud-run-source-deploy",
          "roles/iam.serviceAccountUser on builder",
        ],
        name != "migrate" ? [
          "projects/acme-dash/roles/dashboardDeployer_service on ${name}", "roles/run.invoker on ${name}", "roles/iam.serviceAccountUser on fn-${name}", "roles/iam.serviceAccountOpenIdTokenCreator on deploy-${name}",
        ] : ["projects/acme-dash/roles/dashboardDeployer_job on the job migrate", "roles/iam.serviceAccountUser on migrate"],
      ) : "serviceAccount:deploy-${name} ${grant}"]]),

      # The account that builds.
      ["serviceAccount:builder roles/logging.logWriter on the project", "serviceAccount:builder roles/storage.objectViewer on run-sources-acme-dash-europe-west1", "serviceAccount:builder roles/artifactregistry.writer on cloud-run-source-deploy"],

      # What runs: its way to the database, its secrets, whom it calls.
      flatten([for name in ["auth", "health", "metrics", "refresh", "rollup"] : [for role in ["client", "instanceUser"] : "serviceAccount:fn-${name} roles/cloudsql.${role} on this instance"]]),
      ["serviceAccount:migrate roles/cloudsql.client on this instance"],
      [for pair in [
        "fn-auth ACCESS_PUBLIC_KEYS", "fn-metrics ACCESS_PUBLIC_KEYS", "fn-refresh ACCESS_PUBLIC_KEYS", "fn-auth ACCESS_SIGNING_KEYS", "fn-refresh ACCESS_SIGNING_KEYS",
        "fn-auth REFRESH_KEYS", "fn-refresh REFRESH_KEYS", "fn-auth REDIS_URL", "fn-health REDIS_URL", "fn-metrics REDIS_URL", "migrate DATABASE_URL-migrate",
      ] : "serviceAccount:${replace(pair, " ", " roles/secretmanager.secretAccessor on ")}"],
      [for name in ["auth", "health", "metrics", "refresh"] : "serviceAccount:fn-web roles/run.invoker on ${name}"],
      ["serviceAccount:cron-rollup-condense roles/run.invoker on rollup", "serviceAccount:cron-rollup-prune roles/run.invoker on rollup"],
    ))
    error_message = "Somebody is given more, or less, than stands here: nobody owner, editor or admin, nobody but our own accounts, and a deployer nothing of another function."
  }

  # What Google has no role for. None of it makes, deletes, overwrites, calls or opens a
  # shell, runs a job with other settings, or changes who may do something.
  assert {
    condition = { for place, r in google_project_iam_custom_role.deployer : place => "${r.role_id}: ${join(" ", sort(r.permissions))}" } == {
      project = "dashboardDeployer_project: cloudbuild.builds.create cloudbuild.builds.get cloudbuild.operations.get monitoring.timeSeries.list run.operations.get storage.buckets.list"
      service = "dashboardDeployer_service: run.revisions.get run.revisions.list run.services.get run.services.update"
      job     = "dashboardDeployer_job: run.executions.get run.jobs.get run.jobs.run run.jobs.update"
      sources = "dashboardDeployer_sources: storage.buckets.get storage.objects.create storage.objects.get"
    }
    error_message = "The roles of deployers hold more, or less, than deploying takes."
  }
}

run "sources" {
  command = plan

  assert {
    condition = (
      google_storage_bucket.sources.name == "run-sources-acme-dash-europe-west1" && google_storage_bucket.sources.project == "acme-dash" &&
      google_storage_bucket.sources.location == "europe-west1" && google_storage_bucket.sources.uniform_bucket_level_access &&
      google_storage_bucket.sources.public_access_prevention == "enforced" && !google_storage_bucket.sources.force_destroy &&
      one(one(google_storage_bucket.sources.lifecycle_rule).action).type == "Delete" && one(one(google_storage_bucket.sources.lifecycle_rule).condition).age == 30
    )
    error_message = "Sources stand in a private bucket of ours, in the region, and not for long."
  }
}

run "provider" {
  command = plan

  assert {
    condition     = google_iam_workload_identity_pool_provider.github.attribute_condition == "assertion.repository_owner_id == '65' && assertion.repository_id == '74' && assertion.ref == 'refs/heads/main' && assertion.ref_type == 'branch' && assertion.event_name in ['push', 'workflow_dispatch'] && assertion.runner_environment == 'github-hosted' && assertion.workflow_ref.endsWith('/.github/workflows/deploy.yml@refs/heads/main')"
    error_message = "One repository by number, one branch, two events, GitHub's own runners, one workflow."
  }
  assert {
    condition     = !strcontains(join(" ", concat(values(local.attribute_mapping), [local.attribute_condition])), "assertion.sub")
    error_message = "GitHub writes \"sub\" in two forms; nothing depends on it."
  }
  # The shape that the doctor reads.
  assert {
    condition = jsonencode(output.wif) == jsonencode({
      project_id     = "acme-dash"
      project_number = "123456789012"
      pool           = { id = "github", name = "projects/123456789012/locations/global/workloadIdentityPools/github", disabled = false }
      provider = {
        id                  = "dashboard"
        name                = "projects/123456789012/locations/global/workloadIdentityPools/github/providers/dashboard"
        issuer              = "https://token.actions.githubusercontent.com"
        allowed_audiences   = []
        attribute_mapping   = local.attribute_mapping
        attribute_condition = local.attribute_condition
        disabled            = false
      }
      deployers = { for name in concat(jsondecode(file("functions.json")).functions[*].name, ["migrate"]) : name => {
        email         = "deploy-${name}@acme-dash.iam.gserviceaccount.com"
        environment   = "prod-${name}"
        members       = [{ role = "roles/iam.workloadIdentityUser", member = "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/attribute.deployer/74:prod-${name}" }]
        acts_as       = name == "migrate" ? ["builder@acme-dash.iam.gserviceaccount.com", "migrate@acme-dash.iam.gserviceaccount.com"] : ["builder@acme-dash.iam.gserviceaccount.com", "fn-${name}@acme-dash.iam.gserviceaccount.com"]
        project_roles = ["projects/acme-dash/roles/dashboardDeployer_project", "roles/logging.logWriter", "roles/serviceusage.serviceUsageConsumer"]
      } }
      functions = { for name in concat(jsondecode(file("functions.json")).functions[*].name, ["migrate"]) : name => {
        service = name, region = "europe-west1", runtime_account = name == "migrate" ? "migrate@acme-dash.iam.gserviceaccount.com" : "fn-${name}@acme-dash.iam.gserviceaccount.com"
      } }
    })
    error_message = "The output wif has the shape that the doctor reads."
  }
}

run "another_repository" {
  command = plan

  variables {
    github_owner_id      = "7"
    github_repository_id = "8"
    github_branch        = "release/2"
    github_workflow      = ".github/workflows/ship.yaml"
  }

  assert {
    condition     = strcontains(google_iam_workload_identity_pool_provider.github.attribute_condition, "assertion.repository_owner_id == '7' && assertion.repository_id == '8' && assertion.ref == 'refs/heads/release/2'") && endswith(google_iam_workload_identity_pool_provider.github.attribute_condition, "assertion.workflow_ref.endsWith('/.github/workflows/ship.yaml@refs/heads/release/2')")
    error_message = "The condition is the variables'."
  }
  assert {
    condition     = alltrue([for d in output.wif.deployers : endswith(d.members[0].member, "/attribute.deployer/8:${d.environment}")])
    error_message = "And the bindings."
  }
}
