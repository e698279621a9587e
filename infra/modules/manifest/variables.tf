variable "manifest" {
  description = "The text of infra/functions.json."
  type        = string

  validation {
    condition     = can(jsondecode(var.manifest).functions[*].name)
    error_message = "The manifest is not what functions.All prints. Renew it: go test ./functions -update."
  }
  validation {
    condition     = try(length(distinct(jsondecode(var.manifest).functions[*].name)) == length(jsondecode(var.manifest).functions), true)
    error_message = "Two functions of the manifest have one name. A name is a service and an account: give each its own."
  }
  validation {
    # fn-NAME and deploy-NAME must have the 6 to 30 characters of an account's id.
    condition     = try(alltrue([for f in jsondecode(var.manifest).functions : can(regex("^[a-z][a-z0-9-]{1,21}[a-z0-9]$", f.name)) && f.name != "migrate"]), true)
    error_message = "A function's name is also that of its accounts (fn-NAME and deploy-NAME, of 6 to 30 characters): give it 3 to 23 of a-z, 0-9 and -, beginning with a letter and not ending with -. \"migrate\" is the migrations'."
  }
  validation {
    condition     = try(alltrue(flatten([for f in jsondecode(var.manifest).functions : [for s in f.schedules : can(regex("^[a-z]([a-z0-9-]*[a-z0-9])?$", s.name)) && length("cron-${f.name}-${s.name}") <= 30]])), true)
    error_message = "A schedule's name is also that of its account (cron-FUNCTION-SCHEDULE, at most 30 characters of a-z, 0-9 and -): shorten the schedule's name."
  }
}

variable "project_id" { type = string }
variable "project_number" { type = string }
variable "region" { type = string }
variable "pool_name" { type = string }
variable "repository_id" { type = string }
variable "front_door" { type = string }
variable "public_origin" {
  type    = string
  default = null
}
variable "database_instance" {
  description = "The Cloud SQL instance, PROJECT:REGION:NAME; null where each function has a URL."
  type        = string
  default     = null
}
variable "max_connections" { type = number }
variable "settings" {
  type    = map(string)
  default = {}
}
variable "optional_secrets" {
  type    = set(string)
  default = []
}
variable "database_pools" {
  type    = map(number)
  default = {}
}
variable "max_instances" {
  type    = map(number)
  default = {}
}
