output "url" {
  description = "Where the service is; point the certificate's name at it (CNAME or alias)."
  value       = "https://${aws_lb.front.dns_name}"
}

output "image" {
  description = "IMAGE for `make push`."
  value       = aws_ecr_repository.images[var.name].repository_url
}

output "mlflow_image" {
  description = "Where MLflow's image is pushed to."
  value       = aws_ecr_repository.images["${var.name}-mlflow"].repository_url
}

output "dvc_remote" {
  description = "DVC_REMOTE for `make dvc-pull` and `make dvc-push`."
  value       = "s3://${aws_s3_bucket.data.id}/dvc"
}

output "mlflow_tracking_uri" {
  description = "MLFLOW_TRACKING_URI of machines in the network."
  value       = local.mlflow_url
}

output "database_host" {
  description = "Where PostgreSQL is; user and database are `backbeat`."
  value       = local.database_host
}

output "database_secret_arn" {
  description = "The secret with the password of PostgreSQL's user `backbeat`."
  value       = module.password["service"].arn
}

output "pipeline_policy_arn" {
  description = "The policy for whoever trains and builds."
  value       = aws_iam_policy.pipeline.arn
}

output "alarm_topic_arn" {
  description = "The topic that alarms are sent to."
  value       = aws_sns_topic.alarms.arn
}
