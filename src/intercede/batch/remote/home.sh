# Go to the root, and see that nobody put another one in its place since it was entered. shellcheck shell=sh
# shellcheck disable=SC2154,SC3067 # root is given; nearly every sh has -O, and posh has find
cd "$root" || exit
if ! { [ -O . ] || [ -n "$(find . -prune -user "$(id -u)")" ]; } 2>/dev/null; then
    echo "$root is not ours any more" >&2
    exit 1
fi
