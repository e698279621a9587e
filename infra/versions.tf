terraform {
  required_version = ">= 1.11.0" # write-only arguments

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.45"
    }
    upstash = {
      source  = "upstash/upstash"
      version = "~> 2.0"
    }
  }
}
