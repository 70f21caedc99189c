# Enter the root, and check that no other user has replaced it. The caller sets root. shellcheck shell=sh
# shellcheck disable=SC2154,SC3067 # root is set by the caller; nearly every sh has test -O; posh has not, and uses find
cd "$root" || exit
if ! { [ -O . ] || [ -n "$(find . -prune -user "$(id -u)")" ]; } 2>/dev/null; then
    echo "$root does not belong to the user any more" >&2
    exit 1
fi
