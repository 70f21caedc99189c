#!/bin/bash
# pythons.sh PYTHON: the quick suite under a Python of another Debian release, in a chroot of that release. As root, on
# Debian. The chroot has only Python and make, so this shows as well which tools the suite needs.
#   python3.11 bookworm    python3.13 trixie    python3.14, python3.15 forky    (no Debian release has python3.12)
. "$(dirname "$0")/daemons/common.sh"
python=$1
project=$(cd "$RECIPES/../.." && pwd)
case $python in
python3.11) release=bookworm ;;
python3.13) release=trixie ;;
python3.14 | python3.15) release=forky ;;
*) not_had "no Debian release has $python" ;;
esac

carry() { # carry FILE: what this machine's pip needs to reach its index, the chroot's needs too
    [ ! -e "$1" ] || install -D -m 644 "$1" "$root$1"
}

ROOT=$ROOT/pythons
root=$ROOT/releases/$release
release_once "$release"
install_once "$root" make ca-certificates "$python" "$python-venv"
carry /etc/hosts
carry /etc/resolv.conf
carry /etc/pip.conf
carry /etc/ssl/certs/ca-certificates.crt
rm -rf "$root/root/intercede"
mkdir -p "$root/root/intercede"
(cd "$project" && git ls-files -z | tar --null --files-from=- -c) | tar -C "$root/root/intercede" -x
exec unshare --mount --propagation private --pid --fork --kill-child bash "$RECIPES/mounts.sh" "$root" chroot "$root" \
    env --unset=INTERCEDE_ALL_TOOLS HOME=/root make -C /root/intercede test "PYTHON=$python" "VENV=.venv-$python"
