# MLflow: runs and models in PostgreSQL, artifacts in the bucket. It has no log-in, so only the network's own reach it.

resource "aws_service_discovery_private_dns_namespace" "inside" {
  name = "${var.name}.internal"
  vpc  = var.vpc_id
}

resource "aws_service_discovery_service" "mlflow" {
  name = "mlflow"

  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.inside.id

    dns_records {
      type = "A"
      ttl  = 10
    }
  }
}

locals {
  mlflow_host = "mlflow.${aws_service_discovery_private_dns_namespace.inside.name}:${local.ports.mlflow}"
  mlflow_url  = "http://${local.mlflow_host}"

  mlflow_container = {
    image            = "${aws_ecr_repository.images["${var.name}-mlflow"].repository_url}:${var.mlflow_image_tag}"
    logConfiguration = local.logs.mlflow
    linuxParameters  = { capabilities = { drop = ["ALL"] } }
  }
}

resource "aws_ecs_task_definition" "mlflow" {
  family                   = "${var.name}-mlflow"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 512
  memory                   = 2048
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.mlflow.arn

  container_definitions = jsonencode([
    # Makes MLflow's database and user where they are not there yet, then ends.
    merge(local.mlflow_container, {
      name      = "database"
      essential = false
      command   = ["python", "-c", file("${path.module}/mlflow_database.py")]
      environment = [
        { name = "PGHOST", value = aws_db_instance.database.address },
        { name = "PGUSER", value = "backbeat" },
        { name = "PGDATABASE", value = "backbeat" },
        { name = "PGSSLMODE", value = "require" },
      ]
      secrets = [
        { name = "PGPASSWORD", valueFrom = module.password["service"].arn },
        { name = "MLFLOW_DB_PASSWORD", valueFrom = module.password["mlflow"].arn },
      ]
    }),
    merge(local.mlflow_container, {
      name         = "mlflow"
      essential    = true
      dependsOn    = [{ containerName = "database", condition = "SUCCESS" }]
      portMappings = [{ containerPort = local.ports.mlflow, protocol = "tcp" }]
      command = [
        "mlflow", "server", "--host=0.0.0.0", "--port=${local.ports.mlflow}", "--workers=1", "--serve-artifacts",
        "--allowed-hosts=${local.mlflow_host},localhost:${local.ports.mlflow},127.0.0.1:${local.ports.mlflow}",
      ]
      environment = [
        { name = "MLFLOW_BACKEND_STORE_URI", value = "postgresql+psycopg2://mlflow@${local.database_host}/mlflow" },
        { name = "MLFLOW_ARTIFACTS_DESTINATION", value = "s3://${aws_s3_bucket.data.id}/mlflow" },
        { name = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", value = "false" },
        { name = "AWS_DEFAULT_REGION", value = var.region },
        { name = "PGSSLMODE", value = "require" },
        { name = "DO_NOT_TRACK", value = "true" },
      ]
      secrets = [{ name = "PGPASSWORD", valueFrom = module.password["mlflow"].arn }]
      healthCheck = {
        command = [
          "CMD", "python", "-c",
          "import urllib.request as u; u.urlopen('http://127.0.0.1:${local.ports.mlflow}/health', timeout=4)",
        ]
        interval    = 15
        timeout     = 5
        retries     = 4
        startPeriod = 120
      }
    }),
  ])

  # The secret's value must be there before a task asks for it.
  depends_on = [module.password]
}

resource "aws_ecs_service" "mlflow" {
  name            = "mlflow"
  cluster         = aws_ecs_cluster.cluster.id
  task_definition = aws_ecs_task_definition.mlflow.arn
  desired_count   = 1

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.inside["mlflow"].id]
  }

  service_registries {
    registry_arn = aws_service_discovery_service.mlflow.arn
  }

  depends_on = [aws_ecs_cluster_capacity_providers.cluster]
}
