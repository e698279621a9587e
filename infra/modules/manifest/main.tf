# What follows from the manifest, and from it alone: names, addresses, who may be
# whom, what stands in each function's environment, and how many connections all of
# them may hold. It makes nothing, so that all of it can be tried without a cloud.

locals {
  manifest = jsondecode(var.manifest)
  declared = { for f in local.manifest.functions : f.name => f }
  frame    = { for s in local.manifest.settings : s.name => s }

  # The page is what a browser asks for first: who serves it stands in front.
  doors = [for name, f in local.declared : name if contains(f.routes[*].path, "/{$}")]
  door  = one(slice(concat(local.doors, [null]), 0, 1))

  kinds = { for name, f in local.declared : name => distinct([for r in f.routes : r.access == "scheduler" ? "scheduled" : "served"]) }

  served    = toset([for name, kinds in local.kinds : name if contains(kinds, "served")])
  scheduled = toset([for name, kinds in local.kinds : name if contains(kinds, "scheduled")])
  behind    = setsubtract(local.served, compact([local.door]))
  public    = var.front_door == "gateway" ? toset(compact([local.door])) : local.served
}

# Names. The address with the project's number is known before the service is made,
# so that functions can know each other without a cycle.
locals {
  domain   = "${var.project_id}.iam.gserviceaccount.com"
  accounts = { for name, f in local.declared : name => "fn-${name}" }
  url      = { for name, f in local.declared : name => "https://${name}-${var.project_number}.${var.region}.run.app" }
  origin   = coalesce(var.public_origin, try(local.url[local.door], null), "https://invalid")
}

# Settings.
locals {
  settings = { for name, f in local.declared : name => { for s in f.settings : s.name => s } }
  known    = merge(local.frame, [for s in values(local.settings) : s]...)
  database = toset([for name, f in local.declared : name if contains(f.needs, "postgres")])

  # An instance of a function takes its pool, so a function with a large one has
  # fewer instances, unless max_instances says otherwise. Schedules need but one.
  share = 8
  pools = { for name in local.database : name => try(var.database_pools[name], tonumber(local.settings[name]["DATABASE_POOL"].default)) }
  most = { for name, f in local.declared : name => try(
    var.max_instances[name],
    contains(local.scheduled, name) ? 1 : contains(local.database, name) ? max(1, floor(local.share / local.pools[name])) : 4,
  ) }
  # Two for a migration (its lock and its work), three for a person with psql.
  connections = sum(concat([for name in local.database : local.most[name] * local.pools[name]], [2, 3]))

  # What is set for a function apart from the operator's own settings.
  placed = { for name, f in local.declared : name => merge(
    var.front_door == "load_balancer" && contains(local.served, name) ? { TRUSTED_PROXIES = "2" } : {},
    var.front_door == "gateway" && contains(local.behind, name) ? { CLIENT_ADDRESS_HEADER = local.manifest.client_header } : {},
    var.front_door == "gateway" && name == local.door ? { FUNCTION_URLS = join(",", [for other in sort(local.behind) : "${other}=${local.url[other]}"]) } : {},
    { PUBLIC_ORIGIN = local.origin },
    # Cloud Run checks the token of a call, and takes its signature off.
    !contains(local.scheduled, name) ? {} : {
      SCHEDULER_ACCOUNTS  = join(",", [for s in f.schedules : "${s.path}=cron-${name}-${s.name}@${local.domain}"])
      SCHEDULER_AUDIENCE  = local.url[name]
      SCHEDULER_SIGNATURE = "removed"
    },
    !contains(local.database, name) ? {} : merge(
      { DATABASE_POOL = tostring(local.pools[name]) },
      var.database_instance == null ? {} : { DATABASE_INSTANCE = var.database_instance, DATABASE_USER = "${local.accounts[name]}@${var.project_id}.iam" },
    ),
  ) }
  plain = { for name, f in local.declared : name => merge(
    { for key, value in var.settings : key => value if !try((contains(keys(local.frame), key) ? local.frame : local.settings[name])[key].secret, true) },
    local.placed[name],
  ) }

  # Everybody shares a secret but for the database's address, which holds a login.
  secrets_of = { for name, f in local.declared : name => {
    for key, s in merge(local.frame, local.settings[name]) : key => key == "DATABASE_URL" ? "DATABASE_URL-${name}" : key
    if s.secret && (key == "DATABASE_URL" ? var.database_instance == null : s.required || contains(var.optional_secrets, key))
  } }
  secrets = merge(
    { "DATABASE_URL-migrate" = ["migrate"] },
    { for id in distinct(flatten([for s in values(local.secrets_of) : values(s)])) : id => [for name, s in local.secrets_of : name if contains(values(s), id)] },
  )
  env = { for name, f in local.declared : name => merge(
    local.plain[name],
    { for key, id in local.secrets_of[name] : key => "sm://projects/${var.project_id}/secrets/${id}/versions/latest" },
  ) }
}

# Pipelines: each function's, and that of the migrations.
locals {
  pipelines = { for name in concat(keys(local.declared), ["migrate"]) : name => {
    runtime_account = "${try(local.accounts[name], "migrate")}@${local.domain}"
    deployer        = "deploy-${name}@${local.domain}"
    environment     = "prod-${name}"
    # A member holds one attribute, so that both claims stand in one.
    member  = "principalSet://iam.googleapis.com/${var.pool_name}/attribute.deployer/${var.repository_id}:prod-${name}"
    acts_as = ["${try(local.accounts[name], "migrate")}@${local.domain}", "builder@${local.domain}"]
  } }
}

# Routes, as a load balancer knows them: a path in full, or with one segment for each
# wildcard. Methods are the function's to judge.
locals {
  paths = { for name in local.served : name => sort(distinct([for r in local.declared[name].routes : replace(replace(r.path, "{$}", ""), "/\\{[^}]+\\}/", "*")])) }
  homes = transpose(local.paths)
  schedules = merge([for name, f in local.declared : { for s in f.schedules : "${name}-${s.name}" => {
    function = name
    account  = "cron-${name}-${s.name}"
    email    = "cron-${name}-${s.name}@${local.domain}"
    cron     = s.cron
    uri      = "${local.url[name]}${s.path}"
    audience = local.url[name]
    deadline = min(1800, f.timeout_seconds)
  } }]...)
  health = one(slice(concat([for path in keys(local.homes) : path if path == "/api/health"], [null]), 0, 1))
}
