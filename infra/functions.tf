# A Cloud Run service for each function. Terraform owns its shape: account, settings,
# limits, who may call. The pipelines own its revisions: image, source, build. What
# they change is ignored, and nothing else, or one would undo the other. Google lets
# whoever makes a revision of a function give it other settings; they last until the
# next apply.

locals {
  sources = "run-sources-${var.project_id}-${var.region}" # where gcloud run deploy --source puts them
}

# Everybody can work out the name, and take it first. So it is made here, which fails
# where another project has it, and not by the first who uploads.
resource "google_storage_bucket" "sources" {
  name                        = local.sources
  project                     = var.project_id
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  # A source is read once, by the build that it was uploaded for.
  lifecycle_rule {
    condition {
      age = 30
    }
    action {
      type = "Delete"
    }
  }

  lifecycle {
    precondition {
      condition     = length(local.sources) <= 63
      error_message = "The bucket that gcloud uploads to would be ${local.sources}, and a bucket's name has at most 63 characters: take a project with a shorter id, or another region."
    }
    postcondition {
      condition     = tostring(self.project_number) == var.project_number
      error_message = "The bucket ${local.sources} is another project's (${self.project_number}): who owns it reads what is uploaded there and can exchange it. Deploy nothing; take it from the state (terraform state rm google_storage_bucket.sources), and use another region or project."
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_artifact_registry_repository" "images" {
  repository_id = "cloud-run-source-deploy" # where gcloud run deploy --source puts images
  location      = var.region
  format        = "DOCKER"
  description   = "Images of the functions, built from source"

  # Of each function the ten latest stay, to go back to.
  cleanup_policies {
    id     = "keep-latest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "2592000s"
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_cloud_run_v2_service" "function" {
  for_each = local.functions

  name                = each.key
  location            = var.region
  description         = each.value.doc
  deletion_protection = var.deletion_protection

  # Behind the balancer nobody gets past it; the scheduler comes to the address of the
  # service itself, as the gateway does, with a token.
  ingress              = local.balanced && each.value.served ? "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" : "INGRESS_TRAFFIC_ALL"
  default_uri_disabled = local.balanced && each.value.served
  # In place of allUsers, which the policies of many organisations forbid.
  invoker_iam_disabled = each.value.public

  template {
    service_account                  = each.value.runtime_account
    timeout                          = "${each.value.timeout}s"
    max_instance_request_concurrency = each.value.concurrency

    scaling {
      min_instance_count = 0
      max_instance_count = each.value.max_instances
    }

    containers {
      image = "us-docker.pkg.dev/cloudrun/container/hello" # until the first deployment

      resources {
        limits            = { cpu = "1", memory = "${each.value.memory}Mi" }
        cpu_idle          = true # no CPU, and no bill, between requests
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = each.value.env
        content {
          name  = env.key
          value = env.value
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [
      client, client_version, build_config,
      template[0].revision, template[0].labels, template[0].annotations,
      template[0].containers[0].image, template[0].containers[0].base_image_uri,
    ]
  }

  depends_on = [google_service_account.function, google_secret_manager_secret_iam_member.reader]
}

# Who may call what: the gateway those behind it, a schedule its function, and a
# deployer its own function, to ask a new revision before it is sent traffic.
locals {
  invokers = merge(
    { for name in(local.balanced ? [] : module.manifest.behind) : "${module.manifest.door} calls ${name}" => {
      service = name, account = local.functions[module.manifest.door].runtime_account
    } },
    { for key, s in module.manifest.schedules : "${key} calls ${s.function}" => { service = s.function, account = s.email } },
    { for name in keys(local.functions) : "deploy-${name} asks ${name}" => { service = name, account = local.pipelines[name].deployer } },
  )
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = local.invokers

  name       = google_cloud_run_v2_service.function[each.value.service].name
  location   = var.region
  role       = "roles/run.invoker"
  member     = "serviceAccount:${each.value.account}"
  depends_on = [google_service_account.function, google_service_account.scheduler, google_service_account.deployer]
}
