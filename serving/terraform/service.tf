# The service, as in Compose and Kubernetes: production mode, no rights, nothing to write to but its state and /tmp.

resource "aws_ecs_task_definition" "service" {
  family                   = var.name
  requires_compatibilities = ["EC2"]
  network_mode             = "awsvpc"
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.service.arn

  container_definitions = jsonencode([{
    name                   = "service"
    image                  = "${aws_ecr_repository.images[var.name].repository_url}:${var.image_tag}"
    essential              = true
    user                   = "1034:1034"
    memory                 = var.task_memory_mib
    readonlyRootFilesystem = true
    portMappings           = [{ containerPort = local.ports.service, protocol = "tcp" }]
    mountPoints            = [{ sourceVolume = "state", containerPath = "/var/lib/backbeat", readOnly = false }]
    resourceRequirements   = var.gpu ? [{ type = "GPU", value = "1" }] : []
    logConfiguration       = local.logs.service

    linuxParameters = {
      initProcessEnabled = true
      capabilities       = { drop = ["ALL"] }
      # Uploads lie in /tmp while they are heard.
      tmpfs = [{ containerPath = "/tmp", size = 2048, mountOptions = ["mode=1777"] }]
    }

    environment = [
      { name = "BACKBEAT_SERVING__MODE", value = "production" },
      { name = "BACKBEAT_SERVING__MODELS__REGISTRY", value = local.mlflow_url },
      { name = "BACKBEAT_SERVING__JOBS__DATABASE", value = local.database_url },
      { name = "BACKBEAT_SERVING__MONITORING__DATABASE", value = local.database_url },
      { name = "BACKBEAT_SERVING__RECOMMEND__CATALOGUE", value = local.database_url },
      { name = "PGSSLMODE", value = "require" },
    ]

    secrets = concat(
      [{ name = "PGPASSWORD", valueFrom = module.password["service"].arn }],
      var.jwt_secret_arn == "" ? [] : [{ name = "BACKBEAT_SERVING__ACCESS__JWT_SECRET", valueFrom = var.jwt_secret_arn }],
    )

    # ECS does not read the image's own.
    healthCheck = {
      command = [
        "CMD", "python", "-c",
        "import urllib.request as u; u.urlopen('http://127.0.0.1:${local.ports.service}/readyz', timeout=4)",
      ]
      interval    = 15
      timeout     = 5
      retries     = 4
      startPeriod = 180
    }
    },
    # Looks at what the service keeps of its answers. With several tasks one of them leads.
    {
      name                   = "monitor"
      image                  = "${aws_ecr_repository.images[var.name].repository_url}:${var.image_tag}"
      essential              = false
      restartPolicy          = { enabled = true }
      user                   = "1034:1034"
      memory                 = 2048
      readonlyRootFilesystem = true
      entryPoint             = ["backbeat", "monitor"]
      mountPoints            = [{ sourceVolume = "state", containerPath = "/var/lib/backbeat", readOnly = false }]
      logConfiguration       = local.logs.service

      linuxParameters = {
        initProcessEnabled = true
        capabilities       = { drop = ["ALL"] }
        tmpfs              = [{ containerPath = "/tmp", size = 512, mountOptions = ["mode=1777"] }]
      }

      environment = [
        { name = "BACKBEAT_MONITORING__STATE", value = "/var/lib/backbeat" },
        { name = "BACKBEAT_MONITORING__DATABASE", value = local.database_url },
        { name = "BACKBEAT_MONITORING__WATCH__REGISTRY", value = local.mlflow_url },
        { name = "PGSSLMODE", value = "require" },
      ]

      secrets = concat(
        [{ name = "PGPASSWORD", valueFrom = module.password["service"].arn }],
        var.alert_target_arn == "" ? [] : [{ name = "BACKBEAT_MONITORING__TARGETS__TEAM", valueFrom = var.alert_target_arn }],
      )
  }])

  volume {
    name = "state"

    efs_volume_configuration {
      file_system_id     = aws_efs_file_system.state.id
      transit_encryption = "ENABLED"

      authorization_config {
        access_point_id = aws_efs_access_point.state.id
        iam             = "ENABLED"
      }
    }
  }
}

resource "aws_ecs_service" "service" {
  name            = "service"
  cluster         = aws_ecs_cluster.cluster.id
  task_definition = aws_ecs_task_definition.service.arn
  desired_count   = var.replicas

  # A new task is ready, on an instance of its own, before an old one goes.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 600

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.instances.name
    weight            = 1
  }

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.inside["service"].id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.service.arn
    container_name   = "service"
    container_port   = local.ports.service
  }

  # Without them a task could be started that cannot mount its state, or that nothing is sent to.
  depends_on = [aws_lb_listener.https, aws_efs_mount_target.state, aws_ecs_cluster_capacity_providers.cluster]
}
