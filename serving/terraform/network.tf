# Who may call whom; everything else is shut. Clients reach the load balancer alone.

resource "aws_security_group" "front" {
  name        = "${var.name}-front"
  description = "The load balancer"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = {
    for pair in setproduct(var.client_cidrs, [80, 443]) : "${pair[0]} ${pair[1]}" => { cidr = pair[0], port = pair[1] }
  }

  security_group_id = aws_security_group.front.id
  description       = "Clients; port 80 only sends them to 443"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "front" {
  security_group_id            = aws_security_group.front.id
  description                  = "The service"
  referenced_security_group_id = aws_security_group.inside["service"].id
  ip_protocol                  = "tcp"
  from_port                    = local.ports.service
  to_port                      = local.ports.service
}

locals {
  ports = { service = 8000, mlflow = 5000, database = 5432, storage = 2049 }

  # From, to: the port is that of the one that is called.
  calls = {
    "service to mlflow"   = ["service", "mlflow"]
    "service to database" = ["service", "database"]
    "service to storage"  = ["service", "storage"]
    "instance to storage" = ["instance", "storage"]
    "mlflow to database"  = ["mlflow", "database"]
  }
}

resource "aws_security_group" "inside" {
  for_each = toset(["service", "mlflow", "database", "storage", "instance"])

  name        = "${var.name}-${each.key}"
  description = "Backbeat: ${each.key}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "front" {
  security_group_id            = aws_security_group.inside["service"].id
  description                  = "The load balancer"
  referenced_security_group_id = aws_security_group.front.id
  ip_protocol                  = "tcp"
  from_port                    = local.ports.service
  to_port                      = local.ports.service
}

resource "aws_vpc_security_group_ingress_rule" "calls" {
  for_each = local.calls

  security_group_id            = aws_security_group.inside[each.value[1]].id
  description                  = each.key
  referenced_security_group_id = aws_security_group.inside[each.value[0]].id
  ip_protocol                  = "tcp"
  from_port                    = local.ports[each.value[1]]
  to_port                      = local.ports[each.value[1]]
}

resource "aws_vpc_security_group_egress_rule" "calls" {
  for_each = local.calls

  security_group_id            = aws_security_group.inside[each.value[0]].id
  description                  = each.key
  referenced_security_group_id = aws_security_group.inside[each.value[1]].id
  ip_protocol                  = "tcp"
  from_port                    = local.ports[each.value[1]]
  to_port                      = local.ports[each.value[1]]
}

resource "aws_vpc_security_group_ingress_rule" "pipeline" {
  for_each = {
    for pair in setproduct(var.pipeline_security_group_ids, ["mlflow", "database"]) : join(" to ", pair) => pair
  }

  security_group_id            = aws_security_group.inside[each.value[1]].id
  description                  = "Machines that train"
  referenced_security_group_id = each.value[0]
  ip_protocol                  = "tcp"
  from_port                    = local.ports[each.value[1]]
  to_port                      = local.ports[each.value[1]]
}

# Images, logs and secrets come and go by HTTPS; so do the service's webhooks.
resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = toset(["service", "mlflow", "instance"])

  security_group_id = aws_security_group.inside[each.key].id
  description       = "HTTPS: AWS, and whom alerts are sent to"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# The load balancer

resource "aws_lb" "front" {
  name                       = var.name
  load_balancer_type         = "application"
  subnets                    = var.public_subnet_ids
  security_groups            = [aws_security_group.front.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protected
  # Longer than limits.request_s: the service's own answer comes before the load balancer gives up.
  idle_timeout = 310
}

resource "aws_lb_target_group" "service" {
  name        = var.name
  vpc_id      = var.vpc_id
  target_type = "ip"
  protocol    = "HTTP"
  port        = local.ports.service
  # What a task has begun may end (limits.upload_s, limits.request_s) after it is sent nothing more.
  deregistration_delay = 450

  health_check {
    path                = "/readyz"
    interval            = 15
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 4
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.front.arn
  protocol          = "HTTPS"
  port              = 443
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.front.arn
  protocol          = "HTTP"
  port              = 80

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}
