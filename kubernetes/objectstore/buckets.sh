#!/bin/sh
# Makes the buckets, and those that MORE_BUCKETS names. It runs whenever the server has started; a bucket that is there stays as it is.
set -eu

shell() { echo "$1" | weed shell -master=127.0.0.1:9333 -filer=127.0.0.1:8888 2>&1; }

tries=0
while :; do
  if shell "s3.bucket.list" >/tmp/buckets; then
    missing=""
    for bucket in lakeline mlflow predictions ${MORE_BUCKETS:-}; do
      grep -qE "^ *$bucket([[:space:]]|$)" /tmp/buckets || missing="$missing $bucket"
    done
    if [ -z "$missing" ]; then
      exit 0
    fi
    for bucket in $missing; do
      shell "s3.bucket.create -name $bucket" || true
    done
  fi
  tries=$((tries + 1))
  if [ "$tries" -gt 60 ]; then
    echo "buckets.sh: no buckets after two minutes; the last answer was:" >&2
    cat /tmp/buckets >&2
    exit 1
  fi
  sleep 2
done
