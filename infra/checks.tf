# What must hold between the parts, however they are changed. A plan that breaks one
# of these is refused.
resource "terraform_data" "invariants" {
  lifecycle {
    precondition {
      condition     = toset([for name, s in google_cloud_run_v2_service.function : name if s.invoker_iam_disabled]) == toset(module.manifest.public)
      error_message = "Functions are public that are not the front door, or the front door is not."
    }
    precondition {
      condition     = alltrue([for s in module.manifest.schedules : !google_cloud_run_v2_service.function[s.function].invoker_iam_disabled])
      error_message = "A function that the scheduler calls is public."
    }
    precondition {
      condition     = alltrue([for m in google_cloud_run_v2_service_iam_member.invoker : startswith(m.member, "serviceAccount:")])
      error_message = "Somebody else than an account of ours may call a function."
    }
    precondition {
      condition     = alltrue([for s in google_cloud_run_v2_service.function : endswith(s.template[0].service_account, "@${var.project_id}.iam.gserviceaccount.com")])
      error_message = "A function runs as the project's default account."
    }
    precondition {
      condition     = length(setsubtract(keys(var.secret_versions), keys(module.manifest.secrets))) == 0
      error_message = "Nobody reads ${join(", ", setsubtract(keys(var.secret_versions), keys(module.manifest.secrets)))}. The secrets of this installation are ${join(", ", keys(module.manifest.secrets))}."
    }
    precondition {
      condition     = can(regex("^[0-9]+$", var.project_number)) && can(regex("^[0-9]+$", var.github_repository_id))
      error_message = "Workload Identity Federation is told names where it knows numbers."
    }
  }
}

# Warned of, not refused.
check "somebody_is_told" {
  assert {
    condition     = length(var.alert_emails) > 0
    error_message = "Nobody is told when something is wrong: set alert_emails."
  }
}

check "one_login" {
  assert {
    condition     = local.cloud_sql || length(setsubtract(keys(module.manifest.members), keys(var.database.logins))) == 0
    error_message = "Without database.logins every function may do everything in the database: name a login for each of ${join(", ", keys(module.manifest.members))}."
  }
}

# Acting as an account takes leave of it, but for the one that older projects have their
# builds run as: whoever may start a build may be that.
check "builds_of_nobody" {
  data "google_project_iam_policy" "this" {
    project = var.project_id
  }

  assert {
    condition     = !strcontains(data.google_project_iam_policy.this.policy_data, "\"serviceAccount:${var.project_number}@cloudbuild.gserviceaccount.com\"")
    error_message = "A deployer's build may run as ${var.project_number}@cloudbuild.gserviceaccount.com, which reads every bucket of the project, that of the state among them. Nothing here needs it: gcloud projects remove-iam-policy-binding ${var.project_id} --member=serviceAccount:${var.project_number}@cloudbuild.gserviceaccount.com --role=roles/cloudbuild.builds.builder --all"
  }
}
