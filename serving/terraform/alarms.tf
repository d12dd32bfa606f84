# What a person is told: that nobody is served, that answers fail or are slow, that something fills up.

resource "aws_sns_topic" "alarms" {
  # Names of alarms and numbers, nothing that is secret; alarms cannot write to a topic under AWS's own key.
  name = "${var.name}-alarms"
}

data "aws_iam_policy_document" "alarms" {
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == "" ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

locals {
  of_front = {
    LoadBalancer = aws_lb.front.arn_suffix
    TargetGroup  = aws_lb_target_group.service.arn_suffix
  }
  of_service  = { ClusterName = aws_ecs_cluster.cluster.name, ServiceName = aws_ecs_service.service.name }
  of_mlflow   = { ClusterName = aws_ecs_cluster.cluster.name, ServiceName = aws_ecs_service.mlflow.name }
  of_database = { DBInstanceIdentifier = aws_db_instance.database.identifier }

  gib = 1024 * 1024 * 1024

  # Each holds for so many minutes, one after the other, before anybody is told.
  alarms = {
    down = {
      says = "No task of the service is ready", namespace = "AWS/ApplicationELB", metric = "HealthyHostCount"
      of   = local.of_front, statistic = "Minimum", is = "LessThanThreshold", than = 1, minutes = 3, silence = "breaching"
    }
    unhealthy = {
      says = "A task of the service stays unready", namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount"
      of   = local.of_front, statistic = "Maximum", is = "GreaterThanThreshold", than = 0, minutes = 15, silence = "notBreaching"
    }
    errors = {
      says = "The service answers with errors of its own", namespace = "AWS/ApplicationELB"
      of   = local.of_front, metric = "HTTPCode_Target_5XX_Count", statistic = "Sum"
      is   = "GreaterThanThreshold", than = 5, minutes = 5, silence = "notBreaching"
    }
    slow = {
      says = "The slowest twentieth of requests takes too long", namespace = "AWS/ApplicationELB"
      of   = local.of_front, metric = "TargetResponseTime", statistic = "p95"
      is   = "GreaterThanThreshold", than = var.slow_s, minutes = 10, silence = "notBreaching"
    }
    busy = {
      says = "The service has no processor left", namespace = "AWS/ECS", metric = "CPUUtilization"
      of   = local.of_service, statistic = "Average", is = "GreaterThanThreshold", than = 90, minutes = 15, silence = "notBreaching"
    }
    memory = {
      says = "The service has little memory left", namespace = "AWS/ECS", metric = "MemoryUtilization"
      of   = local.of_service, statistic = "Maximum", is = "GreaterThanThreshold", than = 85, minutes = 10, silence = "notBreaching"
    }
    mlflow = {
      says = "MLflow does not run: models cannot change", namespace = "ECS/ContainerInsights", metric = "RunningTaskCount"
      of   = local.of_mlflow, statistic = "Minimum", is = "LessThanThreshold", than = 1, minutes = 10, silence = "breaching"
    }
    database_storage = {
      says = "PostgreSQL has little storage left", namespace = "AWS/RDS", metric = "FreeStorageSpace"
      of   = local.of_database, statistic = "Minimum", is = "LessThanThreshold"
      than = 0.15 * var.database_storage_gib * local.gib, minutes = 15, silence = "missing"
    }
    database_busy = {
      says = "PostgreSQL has no processor left", namespace = "AWS/RDS", metric = "CPUUtilization"
      of   = local.of_database, statistic = "Average", is = "GreaterThanThreshold", than = 85, minutes = 15, silence = "missing"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "alarms" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${replace(each.key, "_", "-")}"
  alarm_description   = each.value.says
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.of
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = each.value.is
  threshold           = each.value.than
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.silence
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
