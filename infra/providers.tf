provider "google" {
  project = var.project_id
  region  = var.region

  # Billing budgets are asked for in the name of a project, not of a person.
  user_project_override = true
  billing_project       = var.project_id
}

# The provider wants both, also where nothing of Upstash is made.
provider "upstash" {
  email   = coalesce(var.upstash_email, "nobody@example.invalid")
  api_key = coalesce(var.upstash_api_key, "unused")
}
