# Passwords of PostgreSQL's two users.

module "password" {
  source   = "./password"
  for_each = toset(["service", "mlflow"])

  name        = "${var.name}/database/${each.key}"
  description = "Password of PostgreSQL's user for ${each.key}"
}
