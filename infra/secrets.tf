# Secrets. A function is told their names and reads them itself, so that a value
# stands in no setting, and a new one needs no deployment. Each may be read by the
# functions that declare it. Terraform writes values without keeping them.

resource "google_secret_manager_secret" "this" {
  for_each = module.manifest.secrets

  secret_id           = each.key
  deletion_protection = var.deletion_protection

  replication {
    auto {}
  }

  depends_on = [google_project_service.api]
}

locals {
  readers = merge([for id, names in module.manifest.secrets : { for name in names : "${id}: ${name}" => {
    secret = id, account = local.pipelines[name].runtime_account
  } }]...)
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = local.readers

  secret_id  = google_secret_manager_secret.this[each.value.secret].secret_id
  role       = "roles/secretmanager.secretAccessor"
  member     = "serviceAccount:${each.value.account}"
  depends_on = [google_service_account.function, google_service_account.migrator]
}

locals {
  written = concat(local.upstash ? ["REDIS_URL"] : [], local.cloud_sql ? ["DATABASE_URL-migrate"] : [])
}

# An empty value is refused by Secret Manager: that of a number that was raised and
# came without one.
resource "google_secret_manager_secret_version" "operator" {
  for_each = { for id, version in var.secret_versions : id => version if contains(keys(module.manifest.secrets), id) }

  secret                 = google_secret_manager_secret.this[each.key].id
  secret_data_wo         = lookup(var.secret_values, each.key, "")
  secret_data_wo_version = each.value
  deletion_policy        = "ABANDON" # taking it off the list leaves the value in use

  lifecycle {
    create_before_destroy = true # "latest" names one at every moment
    precondition {
      condition     = !contains(local.written, each.key)
      error_message = "Terraform makes ${each.key} itself: take it from secret_versions and secret_values."
    }
  }
}

resource "google_secret_manager_secret_version" "redis" {
  count = local.upstash && contains(keys(module.manifest.secrets), "REDIS_URL") ? 1 : 0

  secret         = google_secret_manager_secret.this["REDIS_URL"].id
  secret_data_wo = local.upstash_url
  # Another address is another version. Of a random password 28 bits of a digest tell
  # nothing.
  secret_data_wo_version = nonsensitive(parseint(substr(sha256(local.upstash_url), 0, 7), 16))

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret_version" "migrator" {
  count = local.cloud_sql ? 1 : 0

  secret = google_secret_manager_secret.this["DATABASE_URL-migrate"].id
  secret_data_wo = var.migrator_password == "" ? "" : join("", [
    "postgres://migrate:${var.migrator_password}@/dashboard?host=/cloudsql/",
    "${var.project_id}:${var.region}:${var.database.instance}",
  ])
  secret_data_wo_version = var.migrator_password_version

  lifecycle {
    create_before_destroy = true
  }
}
