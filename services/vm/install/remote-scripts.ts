/** The shell scripts that install, start, watch and remove a runner on another machine. */

/** The folder of an installed runner, below the home. */
const folder = ".local/share/devmesh-runner";

const unit = "devmesh-runner.service";

/** What every script begins with: the names, and how a runner is stopped. */
const prelude = `set -u
export LC_ALL=C
dir="$HOME/${folder}"
units="$HOME/.config/systemd/user"
has_systemd() { systemctl --user show-environment >/dev/null 2>&1; }
stop_runner() {
  if [ -e "$units/${unit}" ]; then
    systemctl --user disable --now ${unit} >/dev/null 2>&1
    rm -f "$units/${unit}"
    systemctl --user daemon-reload >/dev/null 2>&1
  fi
  pid=$(cat "$dir/pid" 2>/dev/null) || return 0
  case $pid in ''|*[!0-9]*) return 0 ;; esac
  [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$dir" ] || return 0
  kill -TERM "$pid" 2>/dev/null
  i=0
  while [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$dir" ]; do
    i=$((i + 1))
    [ $i -gt 300 ] && kill -KILL "-$pid" 2>/dev/null
    [ $i -gt 320 ] && return 1
    sleep 0.1
  done
}
remove_all() {
  stop_runner
  made=$(cat "$dir/made" 2>/dev/null)
  rm -rf "$dir"
  for parent in $made; do rmdir "$HOME/$parent" 2>/dev/null; done
  [ ! -e "$dir" ]
}
`;

/** Tells what the machine has, a \`name=value\` a line. */
export const probeScript = `${prelude}
echo "system=$(uname -sm)"
echo "home=$HOME"
echo "host=$(uname -n)"
echo "node=$(command -v node) $(node --version 2>/dev/null)"
[ -e "$dir" ] && echo "installed=yes"
has_systemd && echo "systemd=yes"
exit 0
`;

/** Makes the folder; fails if there is one. Notes which folders above it are its own. */
export const makeScript = `${prelude}
made=
for parent in .local .local/share; do [ -d "$HOME/$parent" ] || made="$parent $made"; done
mkdir -p "$HOME/.local/share" && mkdir -m 700 "$dir" || exit 1
echo "$made" > "$dir/made" && mkdir "$dir/program"
`;

/** Says how much room is left where the folder is, in KiB. */
export const roomScript = `${prelude}
df -Pk "$dir" 2>/dev/null | awk 'NR == 2 { print $4 }'
`;

/** Checks the copies against their digests, and that the program can run at all. */
export const checkScript = `${prelude}
cd "$dir/program" && sha256sum -c --quiet digests >&2 || exit 1
"$(. "$dir/env"; echo "$RUNNER_NODE")" --version
`;

/** Starts the runner, as a user's unit where there is systemd. */
export const startScript = `${prelude}
cd "$dir" || exit 1
if has_systemd; then
  mkdir -p "$units" || exit 1
  cat > "$units/${unit}" <<END || exit 1
[Unit]
Description=devmesh runner
After=network-online.target

[Service]
ExecStart=$dir/run.sh
Restart=always
RestartSec=5
RestartPreventExitStatus=3
TimeoutStopSec=60
KillMode=mixed

[Install]
WantedBy=default.target
END
  systemctl --user daemon-reload && systemctl --user enable --now ${unit} || exit 1
  loginctl enable-linger >/dev/null 2>&1 || echo "it ends when the user's last session does: loginctl enable-linger"
else
  setsid ./run.sh </dev/null >/dev/null 2>&1 &
fi
`;

/** Waits for a while until the runner has joined: its presence on stdout, or why it ended on stderr. */
export const presenceScript = `${prelude}
i=0
while [ $i -lt 50 ]; do
  if [ -s "$dir/state/runner.json" ]; then cat "$dir/state/runner.json"; exit 0; fi
  if [ -s "$dir/ended" ]; then tail -n 5 "$dir/runner.log" >&2; exit 3; fi
  i=$((i + 1))
  sleep 0.1
done
exit 4
`;

/** Tells what is installed, if anything. */
export const aboutScript = `${prelude}
[ -d "$dir" ] || [ -e "$units/${unit}" ] || exit 4
cat "$dir/about" 2>/dev/null
exit 0
`;

/** Stops the runner and removes all of it. */
export const removeScript = `${prelude}
remove_all
`;

/** Runs the program; how it ended is noted for whoever waits for it. */
export const runFile = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo $$ > pid
rm -f ended
set -a
. ./env
set +a
"$RUNNER_NODE" ./program/runner.mjs >>runner.log 2>&1 &
child=$!
trap 'kill -TERM $child' TERM INT
wait $child
status=$?
while kill -0 $child 2>/dev/null; do wait $child; status=$?; done
echo $status > ended
exit $status
`;
