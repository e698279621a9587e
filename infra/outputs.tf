output "url" {
  description = "Where the dashboard is."
  value       = module.manifest.origin
}

output "functions" {
  description = "The address of each function."
  value       = { for name, f in local.functions : name => f.url }
}

output "address" {
  description = "With a load balancer: what the domain's A record must say."
  value       = one(google_compute_global_address.this[*].address)
}

output "secrets" {
  description = "The secrets of this installation, and whose they are; those that Terraform does not write need a version: gcloud secrets versions add NAME --data-file=-"
  value       = module.manifest.secrets
}

output "connections" {
  description = "How many connections to the database all instances may hold at once."
  value       = module.manifest.connections
}

# What a pipeline needs to know, and what the doctor reads: all that decides whether
# a token is let in, and nothing secret.
output "wif" {
  description = "Workload Identity Federation as it is set up; the input of: go run ./infra/doctor."
  value = {
    project_id     = var.project_id
    project_number = var.project_number

    pool = {
      id       = var.pool_id
      name     = local.pool_name
      disabled = coalesce(google_iam_workload_identity_pool.github.disabled, false)
    }

    provider = {
      id                  = var.provider_id
      name                = "${local.pool_name}/providers/${var.provider_id}"
      issuer              = google_iam_workload_identity_pool_provider.github.oidc[0].issuer_uri
      allowed_audiences   = coalesce(google_iam_workload_identity_pool_provider.github.oidc[0].allowed_audiences, [])
      attribute_mapping   = google_iam_workload_identity_pool_provider.github.attribute_mapping
      attribute_condition = google_iam_workload_identity_pool_provider.github.attribute_condition
      disabled            = coalesce(google_iam_workload_identity_pool_provider.github.disabled, false)
    }

    deployers = { for name, p in local.pipelines : name => {
      email         = p.deployer
      environment   = p.environment
      members       = [for i in google_service_account_iam_member.impersonation : { role = i.role, member = i.member } if i.service_account_id == "${local.account_path}/${p.deployer}" && can(regex("^principal(Set)?://", i.member))]
      acts_as       = [for i in google_service_account_iam_member.impersonation : trimprefix(i.service_account_id, "${local.account_path}/") if i.member == "serviceAccount:${p.deployer}" && i.role == "roles/iam.serviceAccountUser"]
      project_roles = [for g in google_project_iam_member.deployer : g.role if g.member == "serviceAccount:${p.deployer}"]
    } }

    functions = { for name, p in local.pipelines : name => {
      service         = name
      region          = var.region
      runtime_account = p.runtime_account
    } }
  }
}
