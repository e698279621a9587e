# Which pipeline may be whom. A pipeline is a job with a GitHub environment; the
# matrix of pipelines and accounts has to be the identity.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
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
      for i in google_service_account_iam_member.impersonation : i.service_account_id if i.member == "serviceAccount:deploy-${name}@acme-dash.iam.gserviceaccount.com"
      ]) } == { for name in concat(jsondecode(file("functions.json")).functions[*].name, ["migrate"]) : name => sort([
      "projects/acme-dash/serviceAccounts/builder@acme-dash.iam.gserviceaccount.com",
      "projects/acme-dash/serviceAccounts/${name == "migrate" ? "" : "fn-"}${name}@acme-dash.iam.gserviceaccount.com",
    ]) }
    error_message = "A deployer acts as its own function's account and the one that builds."
  }
  assert {
    condition     = length(google_service_account_iam_member.impersonation) == 3 * (length(jsondecode(file("functions.json")).functions) + 1)
    error_message = "And nobody else is given anything on an account."
  }
  assert {
    condition     = toset([for i in google_service_account_iam_member.impersonation : i.role]) == toset(["roles/iam.serviceAccountUser", "roles/iam.workloadIdentityUser"])
    error_message = "No other role is given on an account, such as one that makes tokens."
  }
  assert {
    condition = toset([for m in concat(values(google_project_iam_member.deployer), values(google_project_iam_member.database), [google_project_iam_member.builder]) : m.role]) == toset([
      "roles/logging.logWriter", "roles/run.sourceDeveloper", "roles/serviceusage.serviceUsageConsumer",
      "roles/cloudsql.client", "roles/cloudsql.instanceUser", "roles/run.builder",
    ])
    error_message = "On the project there is no owner, no editor, no admin, and no role that sets policies."
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
    condition = alltrue([for m in concat(
      values(google_project_iam_member.deployer)[*].member, values(google_project_iam_member.database)[*].member, [google_project_iam_member.builder.member],
      values(google_secret_manager_secret_iam_member.reader)[*].member, values(google_cloud_run_v2_service_iam_member.invoker)[*].member,
    ) : can(regex("^serviceAccount:[a-z0-9-]+@acme-dash[.]iam[.]gserviceaccount[.]com$", m))])
    error_message = "Nobody but our own accounts: no allUsers, no person, no default account."
  }
  assert {
    condition     = google_cloud_run_v2_job.migrate.template[0].template[0].service_account == "migrate@acme-dash.iam.gserviceaccount.com"
    error_message = "Migrations run as their own account."
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
        project_roles = ["roles/logging.logWriter", "roles/run.sourceDeveloper", "roles/serviceusage.serviceUsageConsumer"]
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
