# A password that AWS makes and that goes straight to Secrets Manager: it is in no state and no plan.

variable "name" {
  description = "Name of the secret."
  type        = string
}

variable "description" {
  description = "What the password is for."
  type        = string
}

variable "generation" {
  description = "A higher one makes another password; tasks take it when they start."
  type        = number
  default     = 1
}

ephemeral "aws_secretsmanager_random_password" "password" {
  password_length     = 48
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "password" {
  name        = var.name
  description = var.description
}

resource "aws_secretsmanager_secret_version" "password" {
  secret_id                = aws_secretsmanager_secret.password.id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.password.random_password
  secret_string_wo_version = var.generation
}

# Read again from where it was put: what PostgreSQL is given is what tasks will read, however often this is applied.
ephemeral "aws_secretsmanager_secret_version" "password" {
  secret_id = aws_secretsmanager_secret_version.password.secret_id
}

output "arn" {
  description = "The secret."
  value       = aws_secretsmanager_secret.password.arn
}

output "generation" {
  description = "By which those who write the password notice that there is another."
  value       = var.generation
}

output "value" {
  description = "The password, while this is applied."
  value       = ephemeral.aws_secretsmanager_secret_version.password.secret_string
  ephemeral   = true
}
