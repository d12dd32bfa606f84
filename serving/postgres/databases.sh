#!/bin/sh
# Runs once, on an empty volume: a database for the jobs of the service and one for MLflow, each with a user of its own
# who may reach no other.
set -eu
for name in backbeat mlflow; do
  case $name in
    backbeat) password=$BACKBEAT_DB_PASSWORD ;;
    mlflow) password=$MLFLOW_DB_PASSWORD ;;
  esac
  PGPASSWORD=$POSTGRES_PASSWORD psql --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" \
    --dbname postgres --set name="$name" --set password="$password" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
