# The service's state: keys, files of jobs, records, the audit log. It outlives instances, and replicas share it.

resource "aws_efs_file_system" "state" {
  encrypted       = true
  throughput_mode = "elastic"

  tags = {
    Name = "${var.name}-state"
  }
}

resource "aws_efs_backup_policy" "state" {
  file_system_id = aws_efs_file_system.state.id

  backup_policy {
    status = "ENABLED"
  }
}

resource "aws_efs_mount_target" "state" {
  count = length(var.private_subnet_ids)

  file_system_id  = aws_efs_file_system.state.id
  subnet_id       = var.private_subnet_ids[count.index]
  security_groups = [aws_security_group.inside["storage"].id]
}

resource "aws_efs_access_point" "state" {
  file_system_id = aws_efs_file_system.state.id

  # The user that the image runs as.
  posix_user {
    uid = 1034
    gid = 1034
  }

  root_directory {
    path = "/backbeat"

    creation_info {
      owner_uid   = 1034
      owner_gid   = 1034
      permissions = "0750"
    }
  }
}
