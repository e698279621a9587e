# An account for each that acts, and for each no more than it does. Nobody is owner,
# editor or run.admin, and the default compute account is nobody's.

resource "google_service_account" "function" {
  for_each = local.functions

  account_id   = each.value.account
  display_name = "function ${each.key}"
  depends_on   = [google_project_service.api]
}

resource "google_service_account" "deployer" {
  for_each = local.pipelines

  account_id   = "deploy-${each.key}"
  display_name = "deploys ${each.key}"
  depends_on   = [google_project_service.api]
}

resource "google_service_account" "builder" {
  account_id   = "builder"
  display_name = "builds functions from their source"
  depends_on   = [google_project_service.api]
}

resource "google_service_account" "migrator" {
  account_id   = "migrate"
  display_name = "applies migrations"
  depends_on   = [google_project_service.api]
}

resource "google_service_account" "scheduler" {
  for_each = module.manifest.schedules

  account_id   = each.value.account
  display_name = "calls ${each.value.function}"
  depends_on   = [google_project_service.api]
}

locals {
  # Deploying from source takes these on the project: there is no narrower way. They
  # let a deployer touch any service; what it may not do is make a revision that runs
  # as another's account, for it may act as its own function's alone.
  deployer_roles = [
    "roles/logging.logWriter", # cloudbuild.yaml runs as the deployer, and writes its log
    "roles/run.sourceDeveloper",
    "roles/serviceusage.serviceUsageConsumer",
  ]

  # The whole of who may use which account: (account, role, member).
  impersonations = merge(
    { for name, p in local.pipelines : "${name}: pipeline" => {
      account = p.deployer, role = "roles/iam.workloadIdentityUser", member = p.member
    } },
    merge([for name, p in local.pipelines : { for account in p.acts_as : "${name}: as ${split("@", account)[0]}" => {
      account = account, role = "roles/iam.serviceAccountUser", member = "serviceAccount:${p.deployer}"
    } }]...),
  )
}

resource "google_service_account_iam_member" "impersonation" {
  for_each = local.impersonations

  service_account_id = "${local.account_path}/${each.value.account}"
  role               = each.value.role
  member             = each.value.member
  depends_on = [
    google_service_account.function, google_service_account.deployer, google_service_account.builder,
    google_service_account.migrator, google_iam_workload_identity_pool_provider.github,
  ]
}

resource "google_project_iam_member" "deployer" {
  for_each = { for pair in setproduct(keys(local.pipelines), local.deployer_roles) : "${pair[0]}: ${pair[1]}" => { pipeline = pair[0], role = pair[1] } }

  project    = var.project_id
  role       = each.value.role
  member     = "serviceAccount:${local.pipelines[each.value.pipeline].deployer}"
  depends_on = [google_service_account.deployer]
}

resource "google_project_iam_member" "builder" {
  project    = var.project_id
  role       = "roles/run.builder"
  member     = "serviceAccount:${local.builder}"
  depends_on = [google_service_account.builder]
}

# Signing in to the instance takes both: the way there, and the login. The
# migrations have a login of their own and need the way alone.
resource "google_project_iam_member" "database" {
  for_each = !local.cloud_sql ? {} : merge(
    { for pair in setproduct(keys(local.with_sql), ["roles/cloudsql.client", "roles/cloudsql.instanceUser"]) :
    "${pair[0]}: ${pair[1]}" => { email = local.functions[pair[0]].runtime_account, role = pair[1] } },
    { "migrate: roles/cloudsql.client" = { email = local.migrator, role = "roles/cloudsql.client" } },
  )

  project = var.project_id
  role    = each.value.role
  member  = "serviceAccount:${each.value.email}"

  condition {
    title      = "this instance"
    expression = "resource.service == 'sqladmin.googleapis.com' && resource.name == 'projects/${var.project_id}/instances/${var.database.instance}'"
  }

  depends_on = [google_service_account.function, google_service_account.migrator]
}
