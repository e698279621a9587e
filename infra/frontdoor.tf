# With front_door = "load_balancer". The gateway needs nothing here: it is the
# function itself, public.

locals {
  balanced_functions = { for name, f in local.functions : name => f if local.balanced && f.served }

  # Paths in full go before those with a wildcard: what matches first, wins. Whatever
  # matches none is the page's, which says that there is no such thing.
  rules = !local.balanced ? [] : concat(
    [for name, f in local.balanced_functions : { function = name, full = [for p in f.paths : p if !strcontains(p, "*")], template = [] }],
    [for name, f in local.balanced_functions : { function = name, full = [], template = [for p in f.paths : p if strcontains(p, "*")] }],
  )
  route_rules = [for r in local.rules : r if length(r.full) + length(r.template) > 0]
  # A certificate cannot be changed, only replaced by one of another name.
  certificate = "dashboard-${substr(sha256(coalesce(var.domain, "none")), 0, 8)}"
}

resource "google_compute_global_address" "this" {
  count = local.balanced ? 1 : 0

  name       = "dashboard"
  depends_on = [google_project_service.api]
}

resource "google_compute_region_network_endpoint_group" "function" {
  for_each = local.balanced_functions

  name                  = "dashboard-${each.key}"
  region                = var.region
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = google_cloud_run_v2_service.function[each.key].name
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_backend_service" "function" {
  for_each = local.balanced_functions

  name                  = "dashboard-${each.key}"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  security_policy       = google_compute_security_policy.this[0].id

  backend {
    group = google_compute_region_network_endpoint_group.function[each.key].id
  }

  log_config {
    enable = false # Cloud Run's log has each request
  }

  # The URL map lets go of a function before the function goes: Google keeps what a map
  # still names.
  lifecycle {
    create_before_destroy = true
  }
}

# In preview: it writes what it would refuse and refuses nothing, until somebody has
# read that (RUNBOOK.md, Cloud Armor).
resource "google_compute_security_policy" "this" {
  count = local.balanced ? 1 : 0

  name        = "dashboard"
  description = "Refuses attacks; in preview until its log has been read"
  type        = "CLOUD_ARMOR"

  dynamic "rule" {
    for_each = { sqli = 1000, xss = 1001, rce = 1002 }
    content {
      action      = "deny(403)"
      priority    = rule.value
      preview     = true
      description = rule.key
      match {
        expr {
          expression = "evaluatePreconfiguredWaf('${rule.key}-v33-stable', {'sensitivity': 1})"
        }
      }
    }
  }

  rule {
    action      = "throttle"
    priority    = 2000
    preview     = true
    description = "more than 600 requests a minute from one address"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"
      rate_limit_threshold {
        count        = 600
        interval_sec = 60
      }
    }
  }

  rule {
    action      = "allow"
    priority    = 2147483647
    description = "all others"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_compute_url_map" "https" {
  count = local.balanced ? 1 : 0

  name            = "dashboard"
  default_service = google_compute_backend_service.function[module.manifest.door].id

  host_rule {
    hosts        = [var.domain]
    path_matcher = "functions"
  }

  path_matcher {
    name            = "functions"
    default_service = google_compute_backend_service.function[module.manifest.door].id

    dynamic "route_rules" {
      for_each = local.route_rules
      content {
        priority = route_rules.key + 1
        service  = google_compute_backend_service.function[route_rules.value.function].id

        dynamic "match_rules" {
          for_each = route_rules.value.full
          content {
            full_path_match = match_rules.value
          }
        }
        dynamic "match_rules" {
          for_each = route_rules.value.template
          content {
            path_template_match = match_rules.value
          }
        }

        # Cookies reach the functions that declare them.
        dynamic "header_action" {
          for_each = length(local.functions[route_rules.value.function].cookies) == 0 ? [1] : []
          content {
            request_headers_to_remove = ["Cookie"]
          }
        }
      }
    }

    # Whatever no function serves.
    route_rules {
      priority = length(local.route_rules) + 1
      service  = google_compute_backend_service.function[module.manifest.door].id
      match_rules {
        prefix_match = "/"
      }
      header_action {
        request_headers_to_remove = ["Cookie"]
      }
    }
  }
}

resource "google_compute_url_map" "redirect" {
  count = local.balanced ? 1 : 0

  name = "dashboard-redirect"

  default_url_redirect {
    https_redirect         = true
    redirect_response_code = "MOVED_PERMANENTLY_DEFAULT"
    strip_query            = false
  }

  depends_on = [google_project_service.api]
}

resource "google_compute_managed_ssl_certificate" "this" {
  count = local.balanced ? 1 : 0

  name = local.certificate

  managed {
    domains = [var.domain]
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.api]
}

resource "google_compute_ssl_policy" "this" {
  count = local.balanced ? 1 : 0

  name            = "dashboard"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
  depends_on      = [google_project_service.api]
}

resource "google_compute_target_https_proxy" "this" {
  count = local.balanced ? 1 : 0

  name             = "dashboard"
  url_map          = google_compute_url_map.https[0].id
  ssl_certificates = [google_compute_managed_ssl_certificate.this[0].id]
  ssl_policy       = google_compute_ssl_policy.this[0].id
}

resource "google_compute_target_http_proxy" "redirect" {
  count = local.balanced ? 1 : 0

  name    = "dashboard-redirect"
  url_map = google_compute_url_map.redirect[0].id
}

resource "google_compute_global_forwarding_rule" "https" {
  count = local.balanced ? 1 : 0

  name                  = "dashboard"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.this[0].id
  port_range            = "443"
  target                = google_compute_target_https_proxy.this[0].id
}

resource "google_compute_global_forwarding_rule" "redirect" {
  count = local.balanced ? 1 : 0

  name                  = "dashboard-redirect"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.this[0].id
  port_range            = "80"
  target                = google_compute_target_http_proxy.redirect[0].id
}
