output "functions" {
  description = "Each function with all that is made for it."
  value = { for name, f in local.declared : name => {
    doc             = f.doc
    account         = local.accounts[name]
    runtime_account = "${local.accounts[name]}@${local.domain}"
    url             = local.url[name]
    public          = contains(local.public, name)
    served          = contains(local.served, name)
    cookies         = try(f.cookies, [])
    paths           = try(local.paths[name], [])
    database        = contains(local.database, name)
    env             = local.env[name]
    secrets         = local.secrets_of[name]
    timeout         = f.timeout_seconds
    concurrency     = f.concurrency
    memory          = f.memory_mib
    max_instances   = local.most[name]
  } }

  precondition {
    condition     = length(local.doors) == 1
    error_message = "One function serves \"/{$}\" and is the front door; in this manifest ${length(local.doors)} do (${join(", ", local.doors)})."
  }
  precondition {
    condition     = length(setintersection(local.served, local.scheduled)) == 0
    error_message = "Scheduler routes stand behind Cloud Run's IAM, others may not: move the scheduler routes of ${join(", ", setintersection(local.served, local.scheduled))} to a function of their own."
  }
  precondition {
    condition     = alltrue([for name, kinds in local.kinds : length(kinds) > 0])
    error_message = "Nobody calls ${join(", ", [for name, kinds in local.kinds : name if length(kinds) == 0])}: give it a route or take it from functions.All."
  }
  precondition {
    condition     = alltrue([for path, names in local.homes : length(names) == 1])
    error_message = "Two functions serve ${join(", ", [for path, names in local.homes : "${path} (${join(", ", names)})" if length(names) > 1])}: one path is one function's, whatever the method."
  }
  precondition {
    condition     = alltrue(flatten([for f in local.declared : [for s in f.schedules : contains([for r in f.routes : "${r.method} ${r.path}" if r.access == "scheduler"], "POST ${s.path}")]]))
    error_message = "A schedule calls a path that is not a POST route with access \"scheduler\" of its function."
  }
  precondition {
    condition     = alltrue([for name in local.scheduled : local.declared[name].timeout_seconds >= 15 && local.declared[name].timeout_seconds <= 1800])
    error_message = "Cloud Scheduler waits from 15 seconds to 30 minutes: give the scheduled functions a timeout between."
  }
  precondition {
    condition     = alltrue([for key in keys(var.settings) : contains(keys(local.known), key)])
    error_message = "No function has the setting ${join(", ", setsubtract(keys(var.settings), keys(local.known)))}. The manifest lists them: ${join(", ", sort(keys(local.known)))}."
  }
  precondition {
    condition     = alltrue([for key in keys(var.settings) : !try(local.known[key].secret, false)])
    error_message = "${join(", ", [for key in keys(var.settings) : key if try(local.known[key].secret, false)])} is secret and must not stand in settings: put it into Secret Manager (secret_values, or gcloud secrets versions add)."
  }
  precondition {
    condition     = length(setintersection(keys(var.settings), flatten([for p in values(local.placed) : keys(p)]))) == 0
    error_message = "Terraform itself sets ${join(", ", setintersection(keys(var.settings), flatten([for p in values(local.placed) : keys(p)])))}: take it from settings; pools go to database_pools, the address to public_origin."
  }
  precondition {
    condition     = alltrue(flatten([for name, f in local.declared : [for s in f.settings : contains(keys(local.env[name]), s.name) if s.required && !s.secret]]))
    error_message = "These settings are required and have no value; give them in settings: ${join(", ", distinct(flatten([for name, f in local.declared : [for s in f.settings : s.name if s.required && !s.secret && !contains(keys(local.env[name]), s.name)]])))}."
  }
  precondition {
    condition     = alltrue([for key in var.optional_secrets : try(local.known[key].secret && !local.known[key].required, false) && key != "DATABASE_URL"])
    error_message = "optional_secrets names what is not an optional secret of any function: ${join(", ", [for key in var.optional_secrets : key if !(try(local.known[key].secret && !local.known[key].required, false) && key != "DATABASE_URL")])}."
  }
  precondition {
    condition     = length(setsubtract(concat(keys(var.database_pools), keys(var.max_instances)), keys(local.declared))) == 0
    error_message = "database_pools or max_instances names no function: ${join(", ", setsubtract(concat(keys(var.database_pools), keys(var.max_instances)), keys(local.declared)))}. These there are: ${join(", ", keys(local.declared))}."
  }
  precondition {
    condition     = length(setsubtract(keys(var.database_pools), local.database)) == 0
    error_message = "database_pools names a function without a database: ${join(", ", setsubtract(keys(var.database_pools), local.database))}."
  }
}

output "connections" {
  description = "How many connections the installation may hold at once."
  value       = local.connections

  precondition {
    condition     = local.connections <= floor(0.8 * var.max_connections)
    error_message = "All instances together may hold ${local.connections} connections (${join(" + ", [for name in local.database : "${name} ${local.most[name]} x ${local.pools[name]}"])} + 2 for migrate + 3 for a person), but only ${floor(0.8 * var.max_connections)} of the ${var.max_connections} of the database may be taken. Lower database_pools or max_instances, or raise database.max_connections together with the tier."
  }
}

output "door" { value = local.door }
output "behind" { value = local.behind }
output "public" { value = local.public }
output "origin" { value = local.origin }
output "schedules" { value = local.schedules }
output "health_path" { value = local.health }
output "pipelines" { value = local.pipelines }
output "secrets" {
  description = "Each secret with those who may read it."
  value       = local.secrets

  precondition {
    condition     = alltrue([for id, readers in local.secrets : length(readers) > 0 && can(regex("^[A-Za-z][A-Za-z0-9_-]{0,254}$", id))])
    error_message = "A secret that nobody reads, or whose name Secret Manager refuses, is in the manifest."
  }
}
output "members" {
  description = "Which login of the database is whose, for DATABASE_MEMBERS."
  value       = { for name in local.database : name => "${local.accounts[name]}@${var.project_id}.iam" }
}
