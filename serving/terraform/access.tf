# Who may do what, by the names of things made here.

data "aws_iam_policy_document" "assumed" {
  for_each = toset(["ecs-tasks", "ec2"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

# Instances: what AWS's agent on them asks for.

resource "aws_iam_role" "instance" {
  name               = "${var.name}-instance"
  assume_role_policy = data.aws_iam_policy_document.assumed["ec2"].json
}

resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

data "aws_partition" "current" {}

resource "aws_iam_instance_profile" "instance" {
  name = "${var.name}-instance"
  role = aws_iam_role.instance.name
}

# Starting tasks: their images, logs and secrets, and no others.

resource "aws_iam_role" "start" {
  name               = "${var.name}-start"
  assume_role_policy = data.aws_iam_policy_document.assumed["ecs-tasks"].json
}

data "aws_iam_policy_document" "start" {
  # A login to the registry is not for one repository; it cannot be given more narrowly.
  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [for repository in aws_ecr_repository.images : repository.arn]
  }

  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for group in aws_cloudwatch_log_group.tasks : "${group.arn}:*"]
  }

  statement {
    actions = ["secretsmanager:GetSecretValue"]
    resources = concat(
      [for password in module.password : password.arn],
      var.jwt_secret_arn == "" ? [] : [var.jwt_secret_arn],
      var.alert_target_arn == "" ? [] : [var.alert_target_arn],
    )
  }
}

resource "aws_iam_role_policy" "start" {
  name   = "start"
  role   = aws_iam_role.start.id
  policy = data.aws_iam_policy_document.start.json
}

# The service: its state.

resource "aws_iam_role" "service" {
  name               = "${var.name}-service"
  assume_role_policy = data.aws_iam_policy_document.assumed["ecs-tasks"].json
}

data "aws_iam_policy_document" "service" {
  statement {
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [aws_efs_file_system.state.arn]

    condition {
      test     = "StringEquals"
      variable = "elasticfilesystem:AccessPointArn"
      values   = [aws_efs_access_point.state.arn]
    }
  }
}

resource "aws_iam_role_policy" "service" {
  name   = "state"
  role   = aws_iam_role.service.id
  policy = data.aws_iam_policy_document.service.json
}

# MLflow: its part of the bucket.

resource "aws_iam_role" "mlflow" {
  name               = "${var.name}-mlflow"
  assume_role_policy = data.aws_iam_policy_document.assumed["ecs-tasks"].json
}

data "aws_iam_policy_document" "folder" {
  for_each = toset(["mlflow", "dvc"])

  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.data.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${each.key}", "${each.key}/*"]
    }
  }

  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.data.arn}/${each.key}/*"]
  }
}

resource "aws_iam_role_policy" "mlflow" {
  name   = "artifacts"
  role   = aws_iam_role.mlflow.id
  policy = data.aws_iam_policy_document.folder["mlflow"].json
}

# For whoever trains and builds, CI say: attach it to a role of theirs.

data "aws_iam_policy_document" "pipeline" {
  source_policy_documents = [data.aws_iam_policy_document.folder["dvc"].json]

  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
    ]
    resources = [for repository in aws_ecr_repository.images : repository.arn]
  }
}

resource "aws_iam_policy" "pipeline" {
  name        = "${var.name}-pipeline"
  description = "DVC's part of the bucket, and pushing images"
  policy      = data.aws_iam_policy_document.pipeline.json
}
