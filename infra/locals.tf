module "manifest" {
  source = "./modules/manifest"

  manifest          = coalesce(var.manifest, file("${path.module}/functions.json"))
  project_id        = var.project_id
  project_number    = var.project_number
  region            = var.region
  pool_name         = local.pool_name
  repository_id     = var.github_repository_id
  front_door        = var.front_door
  public_origin     = var.domain == null ? var.public_origin : "https://${var.domain}"
  database_instance = local.cloud_sql ? "${var.project_id}:${var.region}:${var.database.instance}" : null
  max_connections   = var.database.max_connections
  settings          = var.settings
  optional_secrets  = var.optional_secrets
  database_pools    = var.database_pools
  max_instances     = var.max_instances
}

locals {
  functions    = module.manifest.functions
  with_sql     = { for name, f in local.functions : name => f if f.database && local.cloud_sql }
  cloud_sql    = var.database.kind == "cloud_sql"
  upstash      = var.redis.kind == "upstash"
  balanced     = var.front_door == "load_balancer"
  pool_name    = "projects/${var.project_number}/locations/global/workloadIdentityPools/${var.pool_id}"
  channels     = [for c in google_monitoring_notification_channel.email : c.id]
  pipelines    = module.manifest.pipelines
  builder      = "builder@${var.project_id}.iam.gserviceaccount.com"
  migrator     = "migrate@${var.project_id}.iam.gserviceaccount.com"
  account_path = "projects/${var.project_id}/serviceAccounts"
  public_host  = trimprefix(module.manifest.origin, "https://")
}
