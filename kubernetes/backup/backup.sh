#!/bin/sh
# Dumps each database into /backups, checks that the dump can be read, and removes dumps that are older than KEEP_DAYS.
# The addresses have passwords in them: pg_dump gets these by its environment, so that no list of processes shows one. A password with
# characters that an address writes as %.. has to be given without them.
set -eu
umask 077

stamp=$(date -u +%Y-%m-%dT%H%M%SZ)
failed=""
for name in lakefs mlflow mlflow_auth; do
  case $name in
    lakefs) address=$LAKEFS_DATABASE_POSTGRES_CONNECTION_STRING ;;
    mlflow) address=$MLFLOW_BACKEND_STORE_URI ;;
    mlflow_auth) address=$MLFLOW_AUTH_DATABASE_URI ;;
  esac
  rest=${address#*://}
  login=${rest%%@*}
  place=${rest#*@}
  host=${place%%/*}
  database=${place#*/}
  port=5432
  case $host in *:*) port=${host##*:} && host=${host%:*} ;; esac
  sslmode=prefer
  case $database in *sslmode=*) sslmode=${database##*sslmode=} && sslmode=${sslmode%%&*} ;; esac
  export PGHOST="$host" PGPORT="$port" PGDATABASE="${database%%\?*}" PGSSLMODE="$sslmode" PGUSER="${login%%:*}" PGPASSWORD="${login#*:}"
  file="/backups/$name-$stamp.dump"
  if pg_dump --format=custom --no-owner --file="$file.part" && pg_restore --list "$file.part" >/dev/null; then
    mv "$file.part" "$file"
    echo "$file: $(wc -c <"$file") bytes"
  else
    rm -f "$file.part"
    failed="$failed $name"
  fi
done
if [ -n "$failed" ]; then
  echo "backup.sh: no dump of:$failed. Older dumps are kept." >&2
  exit 1
fi
find /backups -name '*.dump' -mtime "+$KEEP_DAYS" -exec rm -f {} +
