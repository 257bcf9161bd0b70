#!/bin/sh
# Runs a program of this repository under its own Node, after installing what
# package-lock.json names and this folder lacks. `--build` builds the console
# and the agent first. The first argument that is left is the program.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
node="$root/node_modules/node/bin/node"
stamp="$root/node_modules/.devmesh-installed"

if [ ! -x "$node" ] || ! cmp -s "$root/package-lock.json" "$stamp"; then
  echo "devmesh: installing npm packages" >&2
  (cd "$root" && npm install --no-save --no-audit --no-fund --loglevel=error >&2)
  # npm's own `node` package puts the binary here in its install script.
  if [ ! -x "$node" ]; then
    (cd "$root" && npm rebuild node --loglevel=error >&2)
  fi
  cp "$root/package-lock.json" "$stamp"
fi
PATH="$root/node_modules/.bin:$PATH"
export PATH
if [ "${1:-}" = "--build" ]; then
  shift
  "$node" "$root/scripts/build.ts" >&2
fi
program=$1
shift
exec "$node" "$root/$program" "$@"
