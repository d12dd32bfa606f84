"""Makes MLflow's database and user where they are not there yet; runs in MLflow's image before each of its starts."""

import os

import psycopg2
from psycopg2 import sql

USER = sql.Identifier("mlflow")

connection = psycopg2.connect("")
# A database is made outside of transactions.
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = 'mlflow'")
verb = sql.SQL("ALTER" if cursor.fetchone() else "CREATE")
password = sql.Literal(os.environ["MLFLOW_DB_PASSWORD"])
cursor.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, USER, password))
cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'mlflow'")
if not cursor.fetchone():
    # Who gives a database away must belong to its owner.
    cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(USER))
    cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(USER, USER))
cursor.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(USER))
