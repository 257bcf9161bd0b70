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
  # Not `npm ci`: it refuses a lock file without the binaries of platforms that
  # a registry does not carry. No install scripts: some would download.
  (cd "$root" && npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  # The one script that is needed: it puts the Node binary in its place.
  (cd "$root" && npm rebuild node --loglevel=error >&2)
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
