unset -f command cd find id mkdir rm sh tar umask 2>/dev/null
set +aefuvxC
case $- in *m*) set +m ;; esac
umask 077
# shellcheck disable=SC3067 # nearly every sh has -O, and posh has find: nobody put another root in place of ours
cd "$1" && { [ -O . ] || [ -n "$(find . -prune -user "$(id -u)")" ]; } 2>/dev/null && mkdir "$2" && cd "./$2" || exit
trap 'cd .. && rm -rf "./$2"' EXIT
trap 'exit 1' HUP INT TERM
{ # whoever looks for what has this tag waits for us; what Linux tells of us is what the prelude makes of it
    read -r _ic_host </proc/sys/kernel/hostname && read -r _ic_boot </proc/sys/kernel/random/boot_id &&
        read -r _ic_stat </proc/self/stat &&
        printf '%s\n' "$_ic_host/$(readlink /proc/self/ns/pid)" "$_ic_boot" "$_ic_stat" >unpacking
} 2>/dev/null
(unset TAR_OPTIONS POSIXLY_CORRECT; exec tar -xof -) || exit
[ -f submit.sh ] && exec sh ./submit.sh "$3" </dev/null
