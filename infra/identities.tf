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
  # What deploying takes, by where it is given: so much as gcloud run deploy --source,
  # builds submit and run jobs execute ask for, and Google has no role for. Nothing
  # here makes or deletes a service, changes who may call one, or reads a bucket of
  # somebody else. Uploading does not overwrite, for that would take deleting.
  deployer_permissions = {
    # What belongs to no smaller thing than the project: builds, operations, the list of
    # buckets (gcloud asks whether the bucket is ours before it uploads), and the counts
    # of requests, by which a release is judged.
    project = ["cloudbuild.builds.create", "cloudbuild.builds.get", "cloudbuild.operations.get", "monitoring.timeSeries.list", "run.operations.get", "storage.buckets.list"]
    service = ["run.revisions.get", "run.revisions.list", "run.services.get", "run.services.update"]
    job     = ["run.executions.get", "run.jobs.get", "run.jobs.run", "run.jobs.update"]
    sources = ["storage.buckets.get", "storage.objects.create", "storage.objects.get"]
  }
  deployer_role = { for place in keys(local.deployer_permissions) : place => "projects/${var.project_id}/roles/dashboardDeployer_${place}" }

  deployer_project_roles = [
    local.deployer_role.project,
    "roles/logging.logWriter", # cloudbuild.yaml runs as the deployer, and writes its log
    "roles/serviceusage.serviceUsageConsumer",
  ]

  # The whole of who may use which account: (account, role, member).
  impersonations = merge(
    { for name, p in local.pipelines : "${name}: pipeline" => {
      account = p.deployer, role = "roles/iam.workloadIdentityUser", member = p.member
    } },
    # With an ID token of its own it asks its candidate; the migrations have none to ask.
    { for name in keys(local.functions) : "${name}: itself" => {
      account = local.pipelines[name].deployer, role = "roles/iam.serviceAccountOpenIdTokenCreator", member = "serviceAccount:${local.pipelines[name].deployer}"
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

resource "google_project_iam_custom_role" "deployer" {
  for_each = local.deployer_permissions

  role_id     = "dashboardDeployer_${each.key}"
  title       = "Dashboard deployer: ${each.key}"
  description = "What a deployer of the dashboard takes on its ${each.key}"
  permissions = each.value
  depends_on  = [google_project_service.api]
}

resource "google_project_iam_member" "deployer" {
  for_each = { for pair in setproduct(keys(local.pipelines), local.deployer_project_roles) : "${pair[0]}: ${pair[1]}" => { pipeline = pair[0], role = pair[1] } }

  project    = var.project_id
  role       = each.value.role
  member     = "serviceAccount:${local.pipelines[each.value.pipeline].deployer}"
  depends_on = [google_service_account.deployer, google_project_iam_custom_role.deployer]
}

# A deployer changes its own function, and that of the migrations its job, which
# nobody else may run: whoever runs it may tell it other settings.
resource "google_cloud_run_v2_service_iam_member" "deployer" {
  for_each = local.functions

  name       = google_cloud_run_v2_service.function[each.key].name
  location   = var.region
  role       = local.deployer_role.service
  member     = "serviceAccount:${local.pipelines[each.key].deployer}"
  depends_on = [google_service_account.deployer, google_project_iam_custom_role.deployer]
}

resource "google_cloud_run_v2_job_iam_member" "deployer" {
  name       = google_cloud_run_v2_job.migrate.name
  location   = var.region
  role       = local.deployer_role.job
  member     = "serviceAccount:${local.pipelines.migrate.deployer}"
  depends_on = [google_service_account.deployer, google_project_iam_custom_role.deployer]
}

# What is built stands in one bucket and goes to one repository.
locals {
  stores = merge(
    { for name, p in local.pipelines : "deploy-${name}" => { account = p.deployer, sources = local.deployer_role.sources, images = "roles/artifactregistry.reader" } },
    { builder = { account = local.builder, sources = "roles/storage.objectViewer", images = "roles/artifactregistry.writer" } },
  )
}

resource "google_storage_bucket_iam_member" "sources" {
  for_each = local.stores

  bucket     = google_storage_bucket.sources.name
  role       = each.value.sources
  member     = "serviceAccount:${each.value.account}"
  depends_on = [google_service_account.deployer, google_service_account.builder, google_project_iam_custom_role.deployer]
}

resource "google_artifact_registry_repository_iam_member" "images" {
  for_each = local.stores

  repository = google_artifact_registry_repository.images.repository_id
  location   = var.region
  role       = each.value.images
  member     = "serviceAccount:${each.value.account}"
  depends_on = [google_service_account.deployer, google_service_account.builder]
}

# In place of run.builder, which reads every bucket of the project, that of the state
# among them.
resource "google_project_iam_member" "builder" {
  project    = var.project_id
  role       = "roles/logging.logWriter"
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
