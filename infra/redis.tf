# Redis, for limits that hold across instances. It is never evicted from: a limit that
# is forgotten is a limit that is gone.
resource "upstash_redis_database" "this" {
  count = local.upstash ? 1 : 0

  database_name  = var.redis.name
  region         = "global"
  primary_region = var.redis.primary_region
  tls            = true
  eviction       = false
}

locals {
  # Its password and its address stand in the state, as all that Upstash's provider
  # knows; the state is to be as private as the secret.
  upstash_url = local.upstash ? "rediss://default:${upstash_redis_database.this[0].password}@${upstash_redis_database.this[0].endpoint}:${upstash_redis_database.this[0].port}" : null
}
