# What would be made, by Terraform and AWS's own provider with an account made up. Ephemeral values cannot be made up by
# Terraform yet, so test_terraform.py runs this on a copy in which the module `password` is the one beside this.

mock_provider "aws" {
  # Where a policy's text is read again, it must be one.
  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{\"Version\": \"2012-10-17\", \"Statement\": []}"
    }
  }

  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }

  mock_data "aws_caller_identity" {
    defaults = {
      account_id = "123456789012"
    }
  }

  # Arguments that take an ARN refuse what is none.
  mock_resource "aws_launch_template" {
    defaults = {
      id = "lt-1"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::123456789012:role/made-up"
    }
  }

  mock_resource "aws_iam_instance_profile" {
    defaults = {
      arn = "arn:aws:iam::123456789012:instance-profile/made-up"
    }
  }

  mock_resource "aws_sns_topic" {
    defaults = {
      arn = "arn:aws:sns:eu-central-1:123456789012:made-up"
    }
  }

  mock_resource "aws_lb" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/made-up/1"
    }
  }

  mock_resource "aws_lb_target_group" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/made-up/1"
    }
  }

  mock_resource "aws_autoscaling_group" {
    defaults = {
      arn = "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:1:autoScalingGroupName/made-up"
    }
  }

  mock_resource "aws_ecs_task_definition" {
    defaults = {
      arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/made-up:1"
    }
  }

  mock_resource "aws_service_discovery_service" {
    defaults = {
      arn = "arn:aws:servicediscovery:eu-central-1:123456789012:service/made-up"
    }
  }
}

variables {
  region             = "eu-central-1"
  vpc_id             = "vpc-1"
  public_subnet_ids  = ["subnet-1", "subnet-2"]
  private_subnet_ids = ["subnet-3", "subnet-4"]
  certificate_arn    = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
  client_cidrs       = ["203.0.113.0/24"]
  image_tag          = "1.2.0-gpu"
}

run "as_it_is" {
  command = plan

  assert {
    condition     = data.aws_ssm_parameter.machine_image.name == "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
    error_message = "Instances do not have a GPU's driver."
  }

  assert {
    condition     = aws_db_instance.database.deletion_protection && !aws_db_instance.database.skip_final_snapshot && aws_lb.front.enable_deletion_protection
    error_message = "What holds data can be deleted by mistake."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.clients : "${rule.cidr_ipv4} ${rule.from_port}"]) == toset(["203.0.113.0/24 80", "203.0.113.0/24 443"])
    error_message = "Others than the clients that are named reach the load balancer."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.pipeline) == 0 && length(aws_sns_topic_subscription.email) == 0
    error_message = "Something is made that nobody asked for."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["slow"].extended_statistic == "p95" && aws_cloudwatch_metric_alarm.alarms["down"].statistic == "Minimum"
    error_message = "Percentiles and plain statistics have an argument each."
  }

  assert {
    condition     = aws_s3_bucket.data.bucket == "backbeat-123456789012-eu-central-1"
    error_message = "The bucket's name has neither account nor region."
  }
}

run "without_a_gpu_and_with_everything_else" {
  command = plan

  variables {
    gpu                         = false
    instance_type               = "m7i.xlarge"
    replicas                    = 3
    protected                   = false
    alarm_email                 = "music@example.com"
    jwt_secret_arn              = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tokens"
    pipeline_security_group_ids = ["sg-1"]
  }

  assert {
    condition     = data.aws_ssm_parameter.machine_image.name == "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
    error_message = "An instance without a GPU needs the plain image."
  }

  assert {
    condition     = aws_autoscaling_group.instances.max_size == 6 && aws_ecs_service.service.desired_count == 3
    error_message = "There is no room for new tasks beside the old."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.pipeline : rule.from_port]) == toset([5000, 5432])
    error_message = "Machines that train reach MLflow and PostgreSQL."
  }

  assert {
    condition     = aws_sns_topic_subscription.email[0].endpoint == "music@example.com"
    error_message = "Nobody is written to."
  }
}

run "names_that_aws_refuses" {
  command = plan

  variables {
    name            = "Backbeat!"
    certificate_arn = "none"
    replicas        = 0
  }

  expect_failures = [var.name, var.certificate_arn, var.replicas]
}

run "what_tasks_are_given" {
  # The account is made up: nothing is made.
  command = apply

  assert {
    condition = alltrue([
      for task in [aws_ecs_task_definition.service, aws_ecs_task_definition.mlflow] :
      !strcontains(task.container_definitions, "made up")
    ])
    error_message = "A password stands where everybody may read it."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.service.container_definitions)[0].resourceRequirements == [{ type = "GPU", value = "1" }]
    error_message = "The service's task has no GPU."
  }

  assert {
    condition     = [for secret in jsondecode(aws_ecs_task_definition.service.container_definitions)[0].secrets : secret.name] == ["PGPASSWORD"]
    error_message = "The service has other secrets than the one of its database."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.mlflow.container_definitions)[1].dependsOn == [{ containerName = "database", condition = "SUCCESS" }]
    error_message = "MLflow begins before it has a database."
  }
}
