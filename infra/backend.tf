# The state stands in the bucket that infra/bootstrap makes:
# terraform init -backend-config=bucket=PROJECT-terraform
terraform {
  backend "gcs" {
    prefix = "dashboard"
  }
}
