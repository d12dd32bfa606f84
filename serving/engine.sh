#!/bin/sh
# Runs Compose with the container engine that answers, Docker or Podman: sh serving/engine.sh up --detach.
# Alone it says which that is. GPU=1 takes compose.gpu.yaml as well. Ends with 2 where no engine answers.
set -eu
here=$(dirname "$0")
for engine in docker podman; do
  if command -v $engine >/dev/null && $engine info >/dev/null 2>&1 && $engine compose version >/dev/null 2>&1; then
    if [ $# -eq 0 ]; then
      echo $engine
      exit
    fi
    exec $engine compose --file "$here/compose.yaml" ${GPU:+--file "$here/compose.gpu.yaml"} "$@"
  fi
done
echo "no container engine answers: install Docker or Podman with Compose, or serve without one with \`make serve\`" >&2
exit 2
