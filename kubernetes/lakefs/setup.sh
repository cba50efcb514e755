#!/bin/sh
# Makes lakeFS' user, with the keys that the Secret says, if there is none; brings a new database to its schema first. lakeFS itself
# does so only where its database is a file. It runs before each start of the server.
# What setup prints when it has made the user are the keys, so that this is not shown.
set -eu

tries=0
while :; do
  if said=$(/app/lakefs setup --no-check --user-name "$LAKEFS_INSTALLATION_USER_NAME" \
    --access-key-id "$LAKEFS_INSTALLATION_ACCESS_KEY_ID" --secret-access-key "$LAKEFS_INSTALLATION_SECRET_ACCESS_KEY" 2>&1); then
    echo "setup.sh: user $LAKEFS_INSTALLATION_USER_NAME: made"
    exit 0
  fi
  case $said in
    *"already exists"*)
      echo "setup.sh: user $LAKEFS_INSTALLATION_USER_NAME: is there"
      exit 0
      ;;
  esac
  tries=$((tries + 1))
  if [ "$tries" -gt 60 ]; then
    echo "$said" >&2
    exit 1
  fi
  echo "setup.sh: not yet: $(echo "$said" | tail -n 1 | cut -c 1-300)"
  sleep 3
done
