# Passwords are made and handed on as ephemeral values and write-only arguments, which came with 1.11: no state holds one.
terraform {
  required_version = ">= 1.11, < 2"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      project     = var.name
      environment = var.environment
    }
  }
}
