# What the scheduler calls. Each job has an account that may call one service. The
# audience is the service's address: left out, it would be that of the path, which
# Cloud Run does not take.
resource "google_cloud_scheduler_job" "this" {
  for_each = module.manifest.schedules

  name        = each.key
  region      = var.region
  description = "Calls ${each.value.function}"
  schedule    = each.value.cron
  time_zone   = "Etc/UTC"

  # As long as the function may take, so that nothing is called anew while it runs.
  attempt_deadline = "${each.value.deadline}s"

  # A call may come twice. The functions compute from facts, so the second finds nothing to do.
  retry_config {
    retry_count          = 3
    min_backoff_duration = "10s"
    max_backoff_duration = "60s"
    max_doublings        = 3
  }

  http_target {
    http_method = "POST"
    uri         = each.value.uri

    oidc_token {
      service_account_email = each.value.email
      audience              = each.value.audience
    }
  }

  depends_on = [google_service_account.scheduler, google_cloud_run_v2_service_iam_member.invoker]
}
