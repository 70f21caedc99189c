# Given: stamp, clusters, with blanks between. shellcheck shell=sh
# sought: print names of the submission's jobs, some a line with commas between.
sought() {
    names=
    while read -r first _; do
        names="$names${names:+,}ic-$stamp-$first"
        [ "${#names}" -lt 20000 ] || { printf '%s\n' "$names" && names=; }
    done <"./$stamp/slurm/chunks"
    [ -z "$names" ] || printf '%s\n' "$names"
}

# ask CLUSTER NAMES: what squeue and accounting know of these names, - for the cluster that is here.
ask() {
    printf 'intercede: squeue %s\n' "$1"
    cluster=$1
    [ "$1" != - ] || cluster=
    squeue ${cluster:+"--clusters=$cluster"} --user="$(id -u)" --noheader --states=all --name="$2" \
        --format='%F|%j' </dev/null || exit
    accounted "$1" --name="$2" --starttime="now-${days}days" --format=JobID,JobName
}

if [ -e "./$stamp/slurm/chunks" ]; then
    read -r _ _ began <"./$stamp/slurm/chunks"
    days=$((($(date +%s) - began) / 86400 + 2))
    while read -r first count _; do
        printf 'intercede: chunk %s %s\n' "$first" "$count"
    done <"./$stamp/slurm/chunks"
    sought | while read -r names; do
        for cluster in ${clusters:--}; do
            ask "$cluster" "$names"
        done
    done || exit
fi
printf 'intercede: end\n'
