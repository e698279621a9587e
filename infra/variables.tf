# Where.

variable "project_id" {
  description = "The project's id, such as acme-dash."
  type        = string
  validation {
    condition     = !can(regex("^[0-9]+$", var.project_id))
    error_message = "This is the project's number. project_id takes its id: gcloud projects describe NUMBER --format='value(projectId)'."
  }
  validation {
    condition     = can(regex("^([0-9]+|[a-z][a-z0-9-]{4,28}[a-z0-9])$", var.project_id))
    error_message = "A project's id has 6 to 30 of a-z, 0-9 and -, begins with a letter and does not end with -. Copy it from: gcloud projects list --format='value(projectId)'."
  }
}

variable "project_number" {
  description = "The project's number, such as 123456789012. Workload Identity Federation knows no ids."
  type        = string
  validation {
    condition     = can(regex("^[1-9][0-9]{5,18}$", var.project_number))
    error_message = "This is not a project's number (only digits; the id with letters goes to project_id). Copy it from: gcloud projects describe PROJECT_ID --format='value(projectNumber)'."
  }
}

variable "region" {
  description = "The region of everything, such as europe-west1."
  type        = string
  default     = "europe-west1"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "A region reads like europe-west1: lower case, no zone letter at its end. They are listed by: gcloud run regions list."
  }
}

# Who deploys.

variable "github_owner_id" {
  description = "The number of the GitHub user or organisation that owns the repository."
  type        = string
  validation {
    condition     = can(regex("^[1-9][0-9]{0,18}$", var.github_owner_id))
    error_message = "This must be the owner's number, not a name, which somebody else could take later: gh api repos/OWNER/REPOSITORY --jq .owner.id"
  }
}

variable "github_repository_id" {
  description = "The number of the GitHub repository."
  type        = string
  validation {
    condition     = can(regex("^[1-9][0-9]{0,18}$", var.github_repository_id))
    error_message = "This must be the repository's number, not its name, which somebody else could take later: gh api repos/OWNER/REPOSITORY --jq .id"
  }
}

variable "github_branch" {
  description = "The branch whose workflows may deploy."
  type        = string
  default     = "main"
  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$", var.github_branch)) && !startswith(var.github_branch, "refs/")
    error_message = "Give one branch by its name, such as main: no refs/heads/ before it, no wildcard, no quotes or spaces."
  }
}

variable "github_workflow" {
  description = "The workflow file that may deploy."
  type        = string
  default     = ".github/workflows/deploy.yml"
  validation {
    condition     = can(regex("^\\.github/workflows/[A-Za-z0-9._-]+\\.ya?ml$", var.github_workflow))
    error_message = "Give one workflow file by its path, such as .github/workflows/deploy.yml: no branch behind it, no wildcard."
  }
}

variable "pool_id" {
  description = "The id of the workload identity pool. A deleted pool keeps its id for 30 days."
  type        = string
  default     = "github"
  validation {
    condition     = can(regex("^[a-z0-9-]{4,32}$", var.pool_id)) && !startswith(var.pool_id, "gcp-")
    error_message = "A pool's id has 4 to 32 of a-z, 0-9 and -, and does not begin with gcp-. Give the id alone, not projects/NUMBER/…."
  }
}

variable "provider_id" {
  description = "The id of the pool's provider."
  type        = string
  default     = "dashboard"
  validation {
    condition     = can(regex("^[a-z0-9-]{4,32}$", var.provider_id)) && !startswith(var.provider_id, "gcp-")
    error_message = "A provider's id has 4 to 32 of a-z, 0-9 and -, and does not begin with gcp-. Give the id alone, not projects/NUMBER/…."
  }
}

# What browsers meet.

variable "front_door" {
  description = "gateway: the function with the page is public and calls the others; load_balancer: an external load balancer stands before all."
  type        = string
  default     = "gateway"
  validation {
    condition     = contains(["gateway", "load_balancer"], var.front_door)
    error_message = "front_door is gateway (costs nothing when idle) or load_balancer (a domain of yours, Cloud Armor; about 18 USD a month when idle)."
  }
}

variable "domain" {
  description = "With a load balancer: the host that browsers use, such as dash.example.com, which you point at its address."
  type        = string
  default     = null
  validation {
    condition     = var.domain == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain))
    error_message = "Give a host alone, in lower case, such as dash.example.com: no https://, no port, no path, no wildcard."
  }
  validation {
    condition     = (var.front_door == "load_balancer") == (var.domain != null)
    error_message = "front_door = \"load_balancer\" needs a domain, and only it: the gateway is reached at its run.app address, or at public_origin."
  }
}

variable "public_origin" {
  description = "With the gateway: where browsers find it, if not at its run.app address."
  type        = string
  default     = null
  validation {
    condition     = var.public_origin == null || can(regex("^https://([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.public_origin))
    error_message = "An origin reads like https://dash.example.com: https, lower case, nothing behind the host."
  }
  validation {
    condition     = var.public_origin == null || var.front_door == "gateway"
    error_message = "Behind a load balancer the origin is https:// and the domain: leave public_origin out."
  }
}

# What the functions stand on.

variable "database" {
  description = "cloud_sql: an instance is made; url: each function and the migrations have an address of a PostgreSQL of yours, in the secrets DATABASE_URL-FUNCTION and DATABASE_URL-migrate, and logins says which function signs in as whom."
  type = object({
    kind            = optional(string, "cloud_sql")
    instance        = optional(string, "dashboard")
    version         = optional(string, "POSTGRES_17")
    tier            = optional(string, "db-g1-small")
    disk_gb         = optional(number, 10)
    regional        = optional(bool, false)
    max_connections = optional(number, 100)
    logins          = optional(map(string), {})
  })
  default = {}
  validation {
    condition     = contains(["cloud_sql", "url"], var.database.kind)
    error_message = "database.kind is cloud_sql or url."
  }
  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.database.instance))
    error_message = "database.instance is a name alone, such as dashboard: a-z, 0-9 and -, beginning with a letter. Project and region are put before it."
  }
  validation {
    condition     = can(regex("^POSTGRES_(1[6-9]|[2-9][0-9])$", var.database.version))
    error_message = "database.version is POSTGRES_16 or later, written like that."
  }
  validation {
    condition     = can(regex("^db-(f1-micro|g1-small|custom-[0-9]+-[0-9]+)$", var.database.tier))
    error_message = "database.tier is db-f1-micro, db-g1-small or db-custom-CPUS-MEMORY (edition ENTERPRISE); db-perf-optimized-… is of another edition."
  }
  validation {
    condition     = var.database.disk_gb >= 10 && floor(var.database.disk_gb) == var.database.disk_gb
    error_message = "database.disk_gb is a whole number from 10; the disk grows by itself."
  }
  validation {
    condition     = var.database.max_connections >= 25 && floor(var.database.max_connections) == var.database.max_connections
    error_message = "database.max_connections is a whole number from 25: what SHOW max_connections answers, or shall answer."
  }
  validation {
    condition     = length(var.database.logins) == 0 || var.database.kind == "url"
    error_message = "Cloud SQL's logins follow from the functions: leave database.logins out."
  }
  validation {
    condition     = alltrue([for function, login in var.database.logins : can(regex("^[^=,[:space:]]+$", login))])
    error_message = "database.logins says FUNCTION = LOGIN: names of roles, without spaces, commas or =."
  }
}

variable "database_pools" {
  description = "The most connections of one instance, by function, where it is not the manifest's."
  type        = map(number)
  default     = {}
  validation {
    condition     = alltrue([for n in values(var.database_pools) : n >= 1 && n <= 1000 && floor(n) == n])
    error_message = "A pool has a whole number of connections, from 1."
  }
}

variable "max_instances" {
  description = "The most instances, by function. Unset: as many as hold 8 connections together (at least one), one for what the scheduler calls, 4 without a database."
  type        = map(number)
  default     = {}
  validation {
    condition     = alltrue([for n in values(var.max_instances) : n >= 1 && n <= 1000 && floor(n) == n])
    error_message = "max_instances are whole numbers from 1 to 1000."
  }
}

variable "migrator_password" {
  description = "With Cloud SQL: the password of the login that migrates. Needed when migrator_password_version is raised."
  type        = string
  default     = ""
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = var.migrator_password == "" || can(regex("^[A-Za-z0-9_-]{24,128}$", var.migrator_password))
    error_message = "The password is part of an address: 24 to 128 letters, digits, - or _. Make one: export TF_VAR_migrator_password=$(openssl rand -hex 24)"
  }
  validation {
    condition     = !can(regex("(?i)(change.?me|default|placeholder|password|x{8}|0{8})", var.migrator_password))
    error_message = "This is a placeholder. Make a password: export TF_VAR_migrator_password=$(openssl rand -hex 24)"
  }
}

variable "migrator_password_version" {
  description = "Raise it to set migrator_password; 0 until there is one."
  type        = number
  default     = 0
  validation {
    condition     = var.migrator_password_version >= 0 && floor(var.migrator_password_version) == var.migrator_password_version
    error_message = "migrator_password_version is a whole number: raise it by one with each new password."
  }
}

variable "redis" {
  description = "upstash: a database is made; url: the secret REDIS_URL holds the address of a Redis of yours."
  type = object({
    kind           = optional(string, "upstash")
    name           = optional(string, "devops-dashboard")
    primary_region = optional(string, "eu-west-1")
  })
  default = {}
  validation {
    condition     = contains(["upstash", "url"], var.redis.kind)
    error_message = "redis.kind is upstash or url."
  }
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,38}[a-z0-9]$", var.redis.name))
    error_message = "redis.name has 2 to 40 of a-z, 0-9 and -."
  }
  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[0-9]$", var.redis.primary_region))
    error_message = "redis.primary_region is one of Upstash's, which are named as Amazon's: eu-west-1, us-east-1. Take the one next to your region."
  }
}

variable "upstash_email" {
  description = "The account at Upstash."
  type        = string
  default     = null
  validation {
    condition     = var.upstash_email == null || can(regex("^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$", var.upstash_email))
    error_message = "upstash_email is the e-mail address that you sign in to Upstash with."
  }
  validation {
    condition     = var.redis.kind != "upstash" || var.upstash_email != null
    error_message = "Upstash's database is made under an account: set upstash_email, or redis = { kind = \"url\" } for a Redis of yours."
  }
}

variable "upstash_api_key" {
  description = "The management key of that account."
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true
  validation {
    condition     = var.upstash_api_key == null || can(regex("^[A-Za-z0-9_-]{16,}$", var.upstash_api_key)) && !can(regex("(?i)(change.?me|default|placeholder|^x+$)", var.upstash_api_key))
    error_message = "This is not a management key of Upstash: make one in its console (Account, Management API) and set TF_VAR_upstash_api_key."
  }
  validation {
    condition     = var.redis.kind != "upstash" || var.upstash_api_key != null
    error_message = "Upstash's database is made under an account: set TF_VAR_upstash_api_key, or redis = { kind = \"url\" } for a Redis of yours."
  }
}

# What the functions read.

variable "settings" {
  description = "Settings that differ from the manifest's defaults, such as { RATE_LIMIT_SCALE = \"2\" }; each reaches the functions that declare it."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for key, value in var.settings : can(regex("^[A-Z][A-Z0-9_]*$", key))])
    error_message = "A setting is named in capitals, as in infra/functions.json."
  }
  validation {
    condition     = alltrue([for key, value in var.settings : trimspace(value) != "" && trimspace(value) == value])
    error_message = "A setting has a value, without spaces around it. To have the default, leave the setting out."
  }
}

variable "optional_secrets" {
  description = "The optional secrets of the manifest that this installation has."
  type        = set(string)
  default     = []
}

variable "secret_versions" {
  description = "Which secrets Terraform writes, and the number of times it has: raise it to write the value in secret_values. A secret that is not here is written with gcloud secrets versions add."
  type        = map(number)
  default     = {}
  validation {
    condition     = alltrue([for n in values(var.secret_versions) : n >= 1 && floor(n) == n])
    error_message = "secret_versions are whole numbers from 1: raise one by one with each new value."
  }
}

variable "secret_values" {
  description = "The values of secrets whose number in secret_versions is new. They are in no state and no plan."
  type        = map(string)
  default     = {}
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = alltrue([for value in values(var.secret_values) : length(trimspace(value)) >= 8 && !can(regex("(?i)(change.?me|default_?value|placeholder|^(x+|todo|tbd|fixme|secret|password|example|test|your.*|<.*>|[$][{].*)$)", trimspace(value)))])
    error_message = "A value in secret_values is empty, too short or a placeholder. Put the real one there, or leave it out and run: gcloud secrets versions add NAME --data-file=-"
  }
  validation {
    condition     = alltrue([for name in keys(var.secret_values) : contains(keys(var.secret_versions), name)])
    error_message = "secret_values has a value that secret_versions does not name, and which would be written nowhere: add its name there."
  }
  validation {
    condition     = alltrue([for name, value in var.secret_values : !startswith(name, "DATABASE_URL-") || can(regex("^postgres(ql)?://[^:@/]+:[^@]+@", value)) && !strcontains(value, "sslmode=disable")])
    error_message = "A DATABASE_URL is postgres://USER:PASSWORD@HOST/NAME, and encrypted: without sslmode=disable."
  }
  validation {
    condition     = alltrue([for name, value in var.secret_values : name != "REDIS_URL" || can(regex("^rediss://[^@]+@[^/]+$", value))])
    error_message = "REDIS_URL is rediss://default:PASSWORD@HOST:PORT, with two s: TLS."
  }
  validation {
    condition     = alltrue([for name, value in var.secret_values : !endswith(name, "_KEYS") || can(jsondecode(value).keys[0].kid)])
    error_message = "A set of keys is what the command prints: go run ./shared/identity/keys/cmd new access (or refresh)."
  }
}

# Who is told.

variable "alert_emails" {
  description = "Who is told when something is wrong."
  type        = set(string)
  default     = []
  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$", address))])
    error_message = "alert_emails are e-mail addresses."
  }
  validation {
    condition     = length(var.alert_emails) <= 5
    error_message = "A budget tells five addresses at most: use that of a group."
  }
}

variable "budget" {
  description = "What a month may cost before somebody is told. Applying it from GitHub takes a right on the billing account: go run ./infra/bootstrap cloud -project=P -repository=OWNER/NAME -budget=ACCOUNT."
  type = object({
    billing_account = string
    amount          = number
    currency        = optional(string)
  })
  default = null
  validation {
    condition     = var.budget == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "budget.billing_account reads like 012345-6789AB-CDEF01: gcloud billing projects describe PROJECT_ID --format='value(billingAccountName)', without billingAccounts/."
  }
  validation {
    condition     = var.budget == null || try(var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount, false)
    error_message = "budget.amount is a whole number of the currency's units, from 1."
  }
  validation {
    condition     = try(var.budget.currency, null) == null || can(regex("^[A-Z]{3}$", var.budget.currency))
    error_message = "budget.currency is that of the billing account, such as EUR; left out, it is taken from there."
  }
}

# The rest.

variable "deletion_protection" {
  description = "Whether services, secrets, the job and the database refuse to be deleted. To remove a function, or all, turn it off and apply first."
  type        = bool
  default     = true
}

variable "manifest" {
  description = "The text of another manifest than infra/functions.json, for tests."
  type        = string
  default     = null
}
