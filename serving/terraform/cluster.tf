# Instances with a GPU that come and go with the tasks; AWS's own image for them has driver, agent and toolkit.

data "aws_ssm_parameter" "machine_image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/${var.gpu ? "gpu/" : ""}recommended/image_id"
}

resource "aws_ecs_cluster" "cluster" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_launch_template" "instance" {
  name_prefix   = "${var.name}-"
  image_id      = data.aws_ssm_parameter.machine_image.value
  instance_type = var.instance_type

  vpc_security_group_ids = [aws_security_group.inside["instance"].id]

  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }

  # Tasks are kept from the instance's own rights, and get as long to end as the service may need.
  user_data = base64encode(<<-END
    #!/bin/bash
    cat >>/etc/ecs/ecs.config <<'SETTINGS'
    ECS_CLUSTER=${var.name}
    ECS_ENABLE_GPU_SUPPORT=${var.gpu}
    ECS_AWSVPC_BLOCK_IMDS=true
    ECS_CONTAINER_STOP_TIMEOUT=450s
    SETTINGS
  END
  )

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type = "gp3"
      # Two images with CUDA's libraries while one follows the other.
      volume_size           = 80
      encrypted             = true
      delete_on_termination = true
    }
  }

  monitoring {
    enabled = true
  }
}

resource "aws_autoscaling_group" "instances" {
  name                  = var.name
  vpc_zone_identifier   = var.private_subnet_ids
  min_size              = 0
  max_size              = 2 * var.replicas
  protect_from_scale_in = true

  launch_template {
    id      = aws_launch_template.instance.id
    version = aws_launch_template.instance.latest_version
  }

  tag {
    key                 = "AmazonECSManaged"
    value               = "true"
    propagate_at_launch = true
  }

  tag {
    key                 = "Name"
    value               = var.name
    propagate_at_launch = true
  }

  # The capacity provider sets how many there are.
  lifecycle {
    ignore_changes = [desired_capacity]
  }
}

resource "aws_ecs_capacity_provider" "instances" {
  name = var.name

  auto_scaling_group_provider {
    auto_scaling_group_arn         = aws_autoscaling_group.instances.arn
    managed_termination_protection = "ENABLED"
    managed_draining               = "ENABLED"

    managed_scaling {
      status          = "ENABLED"
      target_capacity = 100
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "cluster" {
  cluster_name       = aws_ecs_cluster.cluster.name
  capacity_providers = [aws_ecs_capacity_provider.instances.name, "FARGATE"]
}

resource "aws_cloudwatch_log_group" "tasks" {
  for_each = toset(["service", "mlflow"])

  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_days
}

locals {
  logs = {
    for name, group in aws_cloudwatch_log_group.tasks : name => {
      logDriver = "awslogs"
      options = {
        awslogs-group         = group.name
        awslogs-region        = var.region
        awslogs-stream-prefix = name
        mode                  = "non-blocking"
      }
    }
  }

  # libpq reads the rest from PGPASSWORD and PGSSLMODE, so no address has a password in it.
  database_host = "${aws_db_instance.database.address}:${aws_db_instance.database.port}"
  database_url  = "postgresql+psycopg://backbeat@${local.database_host}/backbeat"
}
