# Go to the root, and see that nobody put another one in its place since it was entered. shellcheck shell=sh
# shellcheck disable=SC2154,SC3067 # root is given; every sh that we know has -O
cd "$root" || exit
[ -O . ] || { echo "$root is not ours any more" >&2 && exit 1; }
