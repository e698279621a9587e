# GitHub's workflows come in with the token that GitHub gives each job, and with no
# key. The provider admits one repository's one workflow on one branch; what a job
# may then be is decided by its environment.

locals {
  issuer = "https://token.actions.githubusercontent.com"

  # By numbers, which stay when something is renamed, and which nobody can take. So it
  # does not matter either whether GitHub writes names or numbers into "sub", nor how
  # long a branch's name is: google.subject has at most 127 bytes.
  attribute_mapping = {
    "google.subject"          = "'gh:' + assertion.repository_id + ':' + (has(assertion.environment) ? assertion.environment : 'none')"
    "attribute.repository_id" = "assertion.repository_id"
    "attribute.owner_id"      = "assertion.repository_owner_id"
    "attribute.deployer"      = "assertion.repository_id + ':' + (has(assertion.environment) ? assertion.environment : 'none')"
  }

  attribute_condition = join(" && ", [
    "assertion.repository_owner_id == '${var.github_owner_id}'",
    "assertion.repository_id == '${var.github_repository_id}'",
    "assertion.ref == 'refs/heads/${var.github_branch}'",
    "assertion.ref_type == 'branch'",
    "assertion.event_name in ['push', 'workflow_dispatch']",
    "assertion.runner_environment == 'github-hosted'",
    "assertion.workflow_ref.endsWith('/${var.github_workflow}@refs/heads/${var.github_branch}')",
  ])
}

# The number and the id must be of one project: with another's number every binding
# below would be made, and none would ever match.
data "google_project" "this" {
  project_id = var.project_id

  lifecycle {
    postcondition {
      condition     = self.number == var.project_number
      error_message = "project_number is ${var.project_number}, but ${var.project_id} has the number ${self.number}: set that."
    }
  }
}

resource "google_iam_workload_identity_pool" "github" {
  workload_identity_pool_id = var.pool_id
  display_name              = "GitHub"
  description               = "Pipelines of the repository ${var.github_repository_id}"
  depends_on                = [google_project_service.api, data.google_project.this]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = var.provider_id
  display_name                       = "GitHub Actions"
  attribute_mapping                  = local.attribute_mapping
  attribute_condition                = local.attribute_condition

  oidc {
    issuer_uri = local.issuer
  }

  lifecycle {
    precondition {
      condition     = length(local.attribute_condition) <= 4096
      error_message = "The condition has more than 4096 characters: shorten github_branch or github_workflow."
    }
    # gh:REPOSITORY:prod-FUNCTION
    precondition {
      condition     = alltrue([for p in local.pipelines : length("gh:${var.github_repository_id}:${p.environment}") <= 127])
      error_message = "google.subject would have more than 127 bytes: a function's name is too long."
    }
  }
}
