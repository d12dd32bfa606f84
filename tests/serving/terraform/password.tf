variable "name" {
  type = string
}

variable "description" {
  type = string
}

variable "made_up" {
  type      = string
  default   = "made up"
  ephemeral = true
}

output "arn" {
  value = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:${var.name}"
}

output "generation" {
  value = 1
}

output "value" {
  value     = var.made_up
  ephemeral = true
}
