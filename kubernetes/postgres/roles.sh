#!/bin/sh
# Gives each client its role and its database, and each role the password that the Secret says. It runs whenever the server has
# started, so that a rotated password holds after a restart.
set -eu

server() { psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host=/var/run/postgresql --username=postgres --dbname="$1"; }

tries=0
until pg_isready --quiet --host=127.0.0.1; do # the server that initdb starts for itself doesn't listen there
  tries=$((tries + 1))
  if [ "$tries" -gt 120 ]; then
    echo "roles.sh: PostgreSQL doesn't answer on 127.0.0.1 after two minutes. See its log above." >&2
    exit 1
  fi
  sleep 1
done

client() { # ROLE VARIABLE: the database is called as its role; psql reads the password out of the environment
  server postgres <<SQL
\\getenv password $2
SELECT 'CREATE ROLE $1' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') \\gexec
ALTER ROLE $1 WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
SELECT 'CREATE DATABASE $1 OWNER $1' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$1') \\gexec
REVOKE ALL ON DATABASE $1 FROM PUBLIC;
SQL
}

server postgres <<'SQL'
\getenv password POSTGRES_PASSWORD
ALTER ROLE postgres PASSWORD :'password';
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
SQL
client lakefs LAKEFS_PASSWORD
client mlflow MLFLOW_PASSWORD
client mlflow_auth MLFLOW_AUTH_PASSWORD
