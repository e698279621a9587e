# PostgreSQL. Functions sign in with their own accounts and no password; only the
# login that migrates has one, since an account cannot make roles in Cloud SQL.

resource "google_sql_database_instance" "this" {
  count = local.cloud_sql ? 1 : 0

  name                = var.database.instance
  region              = var.region
  database_version    = var.database.version
  deletion_protection = var.deletion_protection

  settings {
    edition                     = "ENTERPRISE" # from PostgreSQL 16 on the default is the other
    tier                        = var.database.tier
    availability_type           = var.database.regional ? "REGIONAL" : "ZONAL"
    disk_size                   = var.database.disk_gb
    disk_autoresize             = true
    deletion_protection_enabled = var.deletion_protection
    connector_enforcement       = "REQUIRED" # an address without a connector opens nothing

    ip_configuration {
      ipv4_enabled = true
      ssl_mode     = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      start_time                     = "03:00"
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = 14
      }
    }

    # It tells which statement is slow and costs nothing. Statements hold parameters,
    # never values; who asked is not recorded.
    insights_config {
      query_insights_enabled  = true
      record_client_address   = false
      record_application_tags = false
    }

    # No password_validation_policy: the instance's own root login has no password, and
    # Google refuses to make an instance whose policy it does not meet.

    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }
    database_flags {
      name  = "max_connections"
      value = tostring(var.database.max_connections)
    }
  }

  lifecycle {
    ignore_changes = [settings[0].disk_size] # it grows by itself
    precondition {
      condition     = var.migrator_password_version > 0
      error_message = "The login that migrates needs a password: export TF_VAR_migrator_password=$(openssl rand -hex 24), and set migrator_password_version = 1."
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_sql_database" "dashboard" {
  count = local.cloud_sql ? 1 : 0

  name            = "dashboard"
  instance        = google_sql_database_instance.this[0].name
  deletion_policy = "ABANDON"
}

resource "google_sql_user" "function" {
  for_each = local.with_sql

  instance        = google_sql_database_instance.this[0].name
  name            = module.manifest.members[each.key]
  type            = "CLOUD_IAM_SERVICE_ACCOUNT"
  deletion_policy = "ABANDON" # PostgreSQL keeps a role that still owns rights
  depends_on      = [google_service_account.function]
}

resource "google_sql_user" "migrator" {
  count = local.cloud_sql ? 1 : 0

  instance            = google_sql_database_instance.this[0].name
  name                = "migrate"
  password_wo         = var.migrator_password
  password_wo_version = var.migrator_password_version
  deletion_policy     = "ABANDON" # it owns the tables
}

# The job that applies migrations/, and says who is whose login.
resource "google_cloud_run_v2_job" "migrate" {
  name                = "migrate"
  location            = var.region
  deletion_protection = var.deletion_protection

  template {
    template {
      service_account = local.migrator
      timeout         = "660s" # migrate itself gives up after ten minutes
      max_retries     = 0

      containers {
        image = "us-docker.pkg.dev/cloudrun/container/job" # until the first deployment

        env {
          name  = "DATABASE_URL"
          value = "sm://projects/${var.project_id}/secrets/DATABASE_URL-migrate/versions/latest"
        }
        env {
          name  = "DATABASE_MEMBERS"
          value = join(",", [for function, login in(local.cloud_sql ? module.manifest.members : var.database.logins) : "${function}=${login}"])
        }

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        dynamic "volume_mounts" {
          for_each = google_sql_database_instance.this
          content {
            name       = "cloudsql"
            mount_path = "/cloudsql"
          }
        }
      }

      dynamic "volumes" {
        for_each = google_sql_database_instance.this
        content {
          name = "cloudsql"
          cloud_sql_instance {
            instances = ["${var.project_id}:${var.region}:${volumes.value.name}"]
          }
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [
      client, client_version, template[0].labels, template[0].annotations,
      template[0].template[0].containers[0].image,
    ]
    precondition {
      condition     = length(setsubtract(keys(var.database.logins), keys(module.manifest.members))) == 0
      error_message = "database.logins names ${join(", ", setsubtract(keys(var.database.logins), keys(module.manifest.members)))}, which use no database. These do: ${join(", ", keys(module.manifest.members))}."
    }
  }

  depends_on = [google_service_account.migrator, google_secret_manager_secret_iam_member.reader, google_project_service.api]
}
