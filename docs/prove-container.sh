#!/usr/bin/env bash
# Proves the Dockerfile where no Docker engine runs: builds the CPU image with Debian's buildah on a base made by debootstrap, and
# runs it as its own user on a read-only root. Needs root, buildah and debootstrap, 8 GB of disk and about 15 minutes.
#
#   docs/prove-container.sh [quick]     "quick" leaves out the demo
#
# What pip needs beyond its own defaults comes from outside, as for any build:
#   PIP_CONF=FILE      a pip.conf
#   MOUNTS="DIR …"     folders and files of this machine that it speaks of (wheels, certificates), by the same path inside
#   TORCH_ARGS=…       where the CPU build of torch is, unless pip.conf says so
#   MIRROR=…           the Debian mirror, unless debootstrap's own
#   EMBED_BASE=yes     put the base model into the image, and let the demo do without a network
#   LAYERS=1           keep each instruction's layer and say how large it is; takes 20 GB, as vfs copies whole file systems
set -euo pipefail
cd "$(dirname "$0")/.."
what=$(git describe --always --dirty)
work=$(mktemp -d /var/tmp/mynah-container.XXXXXX)
bh() { nice buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@" </dev/null; }
service=""
clean() {
    [ -z "$service" ] || kill -KILL "$service" 2>/dev/null || true
    bh rm --all >/dev/null 2>&1 || true
    bh rmi --all --force >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean EXIT
say() { printf '\n== %s\n' "$*"; }
must() { "$@" || { echo "NOT PROVEN: $*"; exit 1; }; }
canary="canary-$RANDOM$RANDOM$RANDOM"

say "a stand-in for the base image"
mkdir "$work/base"
nice debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,tzdata bookworm "$work/base/rootfs" ${MIRROR:+"$MIRROR"} \
    >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; exit 1; }
printf 'FROM scratch\nADD rootfs /\n' >"$work/base/Dockerfile"
bh bud --isolation chroot --format docker --quiet --tag localhost/base:1 "$work/base" >/dev/null
rm -rf "$work/base"

say "the image"
{ cat "${PIP_CONF:-/dev/null}"; echo; echo "# $canary"; } >"$work/pip.conf"
mounts=()
for path in ${MOUNTS:-}; do mounts+=(--volume "$path:$path:ro"); done
began=$SECONDS
bh bud --isolation chroot --format docker ${LAYERS:+--layers} --tag localhost/mynah:cpu --secret "id=pip,src=$work/pip.conf" "${mounts[@]}" \
    --build-arg BASE=localhost/base:1 --build-arg DEVICE=cpu --build-arg TORCH_ARGS="${TORCH_ARGS:-}" --build-arg EMBED_BASE="${EMBED_BASE:-no}" . \
    >"$work/build.log" 2>&1 || { tail -40 "$work/build.log"; exit 1; }
echo "built in $((SECONDS - began)) s"
bh inspect --type image localhost/mynah:cpu >"$work/image.json"
if [ -n "${LAYERS:-}" ]; then
    python3 - "$work" <<'PYTHON'
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
layers = json.loads((work / "storage/vfs-layers/layers.json").read_text())
sizes = {layer["diff-digest"]: layer["diff-size"] for layer in layers if "diff-digest" in layer}
wanted = json.loads((work / "image.json").read_text())["OCIv1"]["rootfs"]["diff_ids"]
print("layers, MB:", *(f"{sizes[name] / 1e6:.2f}" for name in wanted))
PYTHON
fi

# What a container runtime does, as far as it matters here: the image's own user and environment, in its own process namespace, on
# a read-only root with a small /tmp and the volume, without any capability. The network is this machine's.
container=$(bh from localhost/mynah:cpu)
root=$(bh mount "$container")
mkdir "$work/data"
python3 - "$work" <<'PYTHON'
import json, pathlib, shlex, sys
work = pathlib.Path(sys.argv[1])
config = json.loads((work / "image.json").read_text())["Docker"]["config"]
for name, text in {
    "env": "\n".join(config["Env"]) + "\n",
    "user": config["User"],
    "workdir": config["WorkingDir"],
    "health": shlex.join(config["Healthcheck"]["Test"][1:]),
}.items():
    (work / name).write_text(text)
PYTHON
user=$(<"$work/user")
chown "$user" "$work/data"
mapfile -t environment <"$work/env"
# shellcheck disable=SC2016
enter='
    set -e; root=$1 work=$2 user=$3 mounts=$4; shift 4
    mount --bind "$root" "$root"
    for path in /etc/resolv.conf $mounts; do
        if [ -d "$path" ]; then mkdir -p "$root$path"; else mkdir -p "$root$(dirname "$path")"; touch "$root$path"; fi
        mount --bind -o ro "$path" "$root$path"
    done
    touch "$root/etc/pip.conf"; mount --bind -o ro "$work/pip.conf" "$root/etc/pip.conf"
    mount -o remount,bind,ro "$root"
    mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
    mount -t tmpfs -o size=512m,mode=1777 tmpfs "$root/tmp"; mount --bind "$work/data" "$root/data"
    exec chroot --userspec="$user" --groups= "$root" env -i "$@"'
inside() {
    # shellcheck disable=SC2016
    unshare "${alone[@]}" --mount --pid --fork --kill-child sh -c "$enter" sh "$root" "$work" "$user" "${MOUNTS:-}" "${environment[@]}" "${extra[@]}" \
        setpriv --no-new-privs sh -c 'cd "$0" && exec "$@"' "$(<"$work/workdir")" "$@"
}
extra=() alone=()
healthy() { inside sh -c "$(<"$work/health")"; }

say "who and what it is"
echo "size: $(du -s --block-size=MB "$root" | cut -f1); user: $(inside id)"
inside grep -E '^Cap(Eff|Bnd)|^NoNewPrivs' /proc/self/status
must inside python3 -c "import os, pwd; assert os.getuid() and pwd.getpwuid(os.getuid()).pw_name == 'mynah'"
must inside python3 -c "import zoneinfo; zoneinfo.ZoneInfo('Europe/Madrid')"
must inside python3 -m pip --version
must inside sh -c '! touch /root-is-writable 2>/dev/null && ! touch /app/x 2>/dev/null && ! touch /opt/mynah/x 2>/dev/null && touch /data/x && rm /data/x'
echo "the root is read-only, /data is not"

say "no secret in it"
must sh -c "! grep -rqs --exclude-dir=proc '$canary' '$root' && ! grep -qs '$canary' '$work'/storage/vfs-images/*/*"
must test ! -s "$root/etc/pip.conf"
echo "pip.conf's canary is in no file of the image and not in its history"

say "mynah doctor"
status=0
inside mynah doctor || status=$?
echo "exit status $status"
must test "$status" = 0

say "HEALTHCHECK, and mynah run with a token file and a Discord that cannot be reached"
if healthy; then echo "NOT PROVEN: healthy though nothing runs"; exit 1; fi
echo "nothing runs: unhealthy"
install -m 0400 -o "${user%:*}" /dev/null "$work/data/token"
echo "not-a-token.of.anybody" >"$work/data/token"
extra=(DISCORD_TOKEN_FILE=/data/token MYNAH_DISCORD__API_URL=http://127.0.0.1:9/api/v10)
inside mynah run >"$work/service.log" 2>&1 &
service=$!
extra=()
for _ in $(seq 60); do healthy && break; sleep 1; done
must healthy
echo "mynah run: healthy"
began=$SECONDS
first=$service
while next=$(pgrep --parent "$first"); do first=$next; done
kill -TERM "$first"
status=0
wait "$service" || status=$?
service=""
echo "SIGTERM: ended with $status after $((SECONDS - began)) s; its log:"
sed 's/^/  /' "$work/service.log" | cut -c1-160 | head -8
must test "$status" = 0
must sh -c "! grep -q not-a-token '$work/service.log'"
if healthy; then echo "NOT PROVEN: healthy though it has ended"; exit 1; fi
echo "ended: unhealthy again"
rm -f "$work/data/token"

if [ "${1:-}" != quick ]; then
    say "the demo"
    if [ "${EMBED_BASE:-no}" = yes ]; then  # no network, no index, no wheel but the image's own
        alone=(--net) MOUNTS=""
        : >"$work/pip.conf"
    fi
    must inside nice python3 -m bot.demo --seed 7
    say "the demo again: nothing is fetched or trained"
    must inside nice python3 -m bot.demo --seed 7 | tail -18
    echo "the volume holds $(du -s --block-size=MB "$work/data" | cut -f1)"
    (cd "$work/data" && find . -maxdepth 2 | sort | head -40)
fi
say "proven: $what"
