# Where it stands

variable "region" {
  description = "AWS region, one that has the instance type."
  type        = string
}

variable "name" {
  description = "What everything made here is named by; two of one account need two names."
  type        = string
  default     = "backbeat"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "A name has 3 to 20 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "environment" {
  description = "A tag on everything: production, staging."
  type        = string
  default     = "production"
}

variable "vpc_id" {
  description = "The network that all stands in."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer, in two availability zones or more."
  type        = list(string)

  validation {
    condition     = length(var.public_subnet_ids) >= 2
    error_message = "A load balancer needs subnets in two availability zones or more."
  }
}

variable "private_subnet_ids" {
  description = "Subnets of everything else, in two availability zones or more; they reach AWS by NAT or endpoints."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) >= 2
    error_message = "The database needs subnets in two availability zones or more."
  }
}

# Who may reach it

variable "certificate_arn" {
  description = "Certificate (ACM, of the same region) of the name under which the service is asked."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate: arn:aws:acm:REGION:ACCOUNT:certificate/ID."
  }
}

variable "client_cidrs" {
  description = "Addresses that may ask the service; it asks each for a key or a token besides."
  type        = list(string)
}

variable "pipeline_security_group_ids" {
  description = "Security groups of the machines in the network that train: they reach MLflow and the database."
  type        = list(string)
  default     = []
}

variable "jwt_secret_arn" {
  description = "A secret of yours in Secrets Manager that signs tokens (32 bytes or more); empty where keys are enough."
  type        = string
  default     = ""
}

variable "alert_target_arn" {
  description = "A secret of yours whose text is where alerts go: {url: \"https://...\", secret: \"...\"}; empty for the log alone."
  type        = string
  default     = ""
}

# What runs

variable "image_tag" {
  description = "Tag of the service's image in the registry made here, as `make push` gave it: 1.2.0-gpu."
  type        = string
}

variable "mlflow_image_tag" {
  description = "Tag of MLflow's image in the registry made here."
  type        = string
  default     = "3.17.2"
}

variable "gpu" {
  description = "Whether instances have a GPU: the machine image, and a GPU for each task, follow."
  type        = bool
  default     = true
}

variable "instance_type" {
  description = "Instances that the service runs on, one task each."
  type        = string
  default     = "g6.xlarge"
}

variable "task_memory_mib" {
  description = "Memory of the service in a task; beside it the monitor has 2 GiB, and about 1 GiB of the instance's is the system's."
  type        = number
  default     = 12288
}

variable "replicas" {
  description = "Tasks of the service. With more than one, each counts rates for itself."
  type        = number
  default     = 1

  validation {
    condition     = var.replicas >= 1 && floor(var.replicas) == var.replicas
    error_message = "There is one replica or more."
  }
}

# What is kept

variable "database_instance_class" {
  description = "Instance class of PostgreSQL: jobs, monitoring, MLflow's runs and models."
  type        = string
  default     = "db.t4g.small"
}

variable "database_storage_gib" {
  description = "Storage of PostgreSQL to begin with; it grows by itself to ten times that."
  type        = number
  default     = 20
}

variable "database_multi_az" {
  description = "Whether PostgreSQL has a standby in another availability zone."
  type        = bool
  default     = false
}

variable "backup_days" {
  description = "How long backups of the database are kept."
  type        = number
  default     = 14
}

variable "log_days" {
  description = "How long logs are kept; one of the numbers that CloudWatch knows."
  type        = number
  default     = 90
}

variable "superseded_days" {
  description = "How long superseded and deleted objects of the bucket can be brought back."
  type        = number
  default     = 90
}

variable "protected" {
  description = "Whether load balancer and database refuse to be deleted, and a last snapshot is taken."
  type        = bool
  default     = true
}

# Who is told

variable "alarm_email" {
  description = "Who is written to when something is wrong; empty where others subscribe to the topic."
  type        = string
  default     = ""
}

variable "slow_s" {
  description = "Seconds that the slowest twentieth of requests may take before that is an alarm."
  type        = number
  default     = 60
}
