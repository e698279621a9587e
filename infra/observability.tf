# What tells somebody that something is wrong. Each alert says which section of
# RUNBOOK.md to open.

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "DevOps Dashboard: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
  depends_on   = [google_project_service.api]
}

locals {
  of_run = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = one_of(${join(", ", [for name in keys(local.functions) : "\"${name}\""])})"

  # What crosses a line. Each: filter, and over it the line for so long.
  thresholds = merge(
    {
      errors = {
        title       = "Requests fail"
        section     = "Requests fail"
        text        = "More than one in twenty requests to the function was answered with 5xx for five minutes."
        filter      = "metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\" AND ${local.of_run}"
        denominator = "metric.type = \"run.googleapis.com/request_count\" AND ${local.of_run}"
        aligner     = "ALIGN_RATE"
        reducer     = "REDUCE_SUM"
        group       = ["resource.label.service_name"]
        over        = 0.05
        duration    = "300s"
      }
      latency = {
        title       = "Requests are slow"
        section     = "Requests are slow"
        text        = "One in twenty requests to the function took more than two seconds for ten minutes."
        filter      = "metric.type = \"run.googleapis.com/request_latencies\" AND resource.type = \"cloud_run_revision\" AND resource.labels.service_name = one_of(${join(", ", [for name, f in local.functions : "\"${name}\"" if f.served])})"
        denominator = null
        aligner     = "ALIGN_PERCENTILE_95"
        reducer     = "REDUCE_MAX"
        group       = ["resource.label.service_name"]
        over        = 2000
        duration    = "600s"
      }
    },
    local.cloud_sql ? {
      connections = {
        title       = "Connections run out"
        section     = "Connections run out"
        text        = "More than eight in ten of the database's ${var.database.max_connections} connections have been taken for five minutes."
        filter      = "metric.type = \"cloudsql.googleapis.com/database/postgresql/num_backends\" AND resource.type = \"cloudsql_database\" AND resource.labels.database_id = \"${var.project_id}:${var.database.instance}\""
        denominator = null
        aligner     = "ALIGN_MAX"
        reducer     = "REDUCE_SUM"
        group       = ["resource.label.database_id"]
        over        = floor(0.8 * var.database.max_connections)
        duration    = "300s"
      }
    } : {},
    module.manifest.health_path == null ? {} : {
      uptime = {
        title       = "The dashboard is away"
        section     = "The dashboard is away"
        text        = "https://${local.public_host}${try(module.manifest.health_path, "")} was asked from several continents and did not answer 200."
        filter      = "metric.type = \"monitoring.googleapis.com/uptime_check/check_passed\" AND resource.type = \"uptime_url\" AND metric.labels.check_id = \"${try(google_monitoring_uptime_check_config.front_door[0].uptime_check_id, "")}\""
        denominator = null
        aligner     = "ALIGN_NEXT_OLDER"
        reducer     = "REDUCE_COUNT_FALSE"
        group       = ["resource.label.host"]
        over        = 1
        duration    = "60s"
      }
    },
  )

  runbook = "See infra/RUNBOOK.md, section"
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each = local.thresholds

  display_name          = "DevOps Dashboard: ${each.value.title}"
  combiner              = "OR"
  severity              = each.key == "latency" ? "WARNING" : "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter             = each.value.filter
      denominator_filter = each.value.denominator
      comparison         = "COMPARISON_GT"
      threshold_value    = each.value.over
      duration           = each.value.duration

      aggregations {
        alignment_period     = each.key == "uptime" ? "1200s" : "60s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
        group_by_fields      = each.value.group
      }
      dynamic "denominator_aggregations" {
        for_each = each.value.denominator == null ? [] : [1]
        content {
          alignment_period     = "60s"
          per_series_aligner   = each.value.aligner
          cross_series_reducer = each.value.reducer
          group_by_fields      = each.value.group
        }
      }
      trigger {
        count = 1
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${each.value.text} ${local.runbook} \"${each.value.section}\"."
  }

  depends_on = [google_project_service.api]
}

resource "google_monitoring_alert_policy" "schedule" {
  count = length(module.manifest.schedules) > 0 ? 1 : 0

  display_name          = "DevOps Dashboard: A schedule fails"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "A schedule fails"

    condition_matched_log {
      filter = "resource.type=\"cloud_scheduler_job\" AND severity>=ERROR AND resource.labels.job_id=(${join(" OR ", [for key in keys(module.manifest.schedules) : "\"${key}\""])})"
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "A call of Cloud Scheduler failed after all its attempts. Figures grow old until it succeeds. ${local.runbook} \"A schedule fails\"."
  }

  depends_on = [google_project_service.api]
}

# Asked from outside, all the way through to PostgreSQL and Redis.
resource "google_monitoring_uptime_check_config" "front_door" {
  count = module.manifest.health_path == null ? 0 : 1

  display_name     = "DevOps Dashboard: ${module.manifest.health_path}"
  period           = "900s" # oftener would keep instances and a sleeping database awake
  timeout          = "10s"
  selected_regions = ["EUROPE", "USA_OREGON", "ASIA_PACIFIC"]

  http_check {
    path         = module.manifest.health_path
    port         = 443
    use_ssl      = true
    validate_ssl = true

    accepted_response_status_codes {
      status_value = 200
    }
  }

  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.project_id, host = local.public_host }
  }

  depends_on = [google_project_service.api]
}

# What is promised, of each function that somebody waits for: 99.5 % answered without
# our fault, and 95 % within a second, over 28 days.
resource "google_monitoring_service" "function" {
  for_each = local.functions

  service_id   = "dashboard-${each.key}"
  display_name = "DevOps Dashboard: ${each.key}"

  basic_service {
    service_type   = "CLOUD_RUN"
    service_labels = { service_name = google_cloud_run_v2_service.function[each.key].name, location = var.region }
  }
}

locals {
  objectives = merge(
    { for name, f in local.functions : "${name}-availability" => { function = name, goal = 0.995, threshold = null, title = "answers" } },
    { for name, f in local.functions : "${name}-latency" => { function = name, goal = 0.95, threshold = "1s", title = "answers within a second" } if f.served },
  )
}

resource "google_monitoring_slo" "function" {
  for_each = local.objectives

  service             = google_monitoring_service.function[each.value.function].service_id
  slo_id              = each.key
  display_name        = "${each.value.goal * 100}% of requests: ${each.value.function} ${each.value.title}"
  goal                = each.value.goal
  rolling_period_days = 28

  basic_sli {
    dynamic "availability" {
      for_each = each.value.threshold == null ? [1] : []
      content {
        enabled = true
      }
    }
    dynamic "latency" {
      for_each = each.value.threshold == null ? [] : [each.value.threshold]
      content {
        threshold = latency.value
      }
    }
  }
}

# At this rate the month's allowance is gone in three days.
resource "google_monitoring_alert_policy" "objective" {
  for_each = local.objectives

  display_name          = "DevOps Dashboard: A promise is being broken (${each.key})"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels

  conditions {
    display_name = each.key

    condition_threshold {
      filter          = "select_slo_burn_rate(\"${google_monitoring_slo.function[each.key].name}\", \"3600s\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 10
      duration        = "0s"
      trigger {
        count = 1
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Of ${each.value.function}'s allowance for 28 days a tenth part is used each seven hours. ${local.runbook} \"A promise is being broken\"."
  }
}

resource "google_billing_budget" "month" {
  count = var.budget == null ? 0 : 1

  # It has no documentation, and 60 characters for a name.
  billing_account = var.budget.billing_account
  display_name    = "DevOps Dashboard (RUNBOOK.md: It costs too much)"

  budget_filter {
    projects        = ["projects/${var.project_number}"]
    calendar_period = "MONTH"
  }

  amount {
    specified_amount {
      currency_code = var.budget.currency
      units         = tostring(var.budget.amount)
    }
  }

  dynamic "threshold_rules" {
    for_each = { "0.5" = "CURRENT_SPEND", "0.9" = "CURRENT_SPEND", "1.0" = "FORECASTED_SPEND" }
    content {
      threshold_percent = tonumber(threshold_rules.key)
      spend_basis       = threshold_rules.value
    }
  }

  # Without a channel the administrators of the billing account are told.
  dynamic "all_updates_rule" {
    for_each = length(local.channels) > 0 ? [1] : []
    content {
      monitoring_notification_channels = local.channels
    }
  }

  depends_on = [google_project_service.api]
}
