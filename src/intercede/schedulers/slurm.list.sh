# Given: stamp, clusters, with blanks between. squeue knows by its name what waits; what began has said so itself, in
# slurm/job. What did neither may be on its way still, and whoever is told that it is not there submits again: so it is
# fenced, and never begins. shellcheck shell=sh
# sought: print names of the submission's jobs, some a line with commas between.
sought() {
    names=
    while read -r first _; do
        names="$names${names:+,}ic-$stamp-$first"
        [ "${#names}" -lt 20000 ] || { printf '%s\n' "$names" && names=; }
    done <"./$stamp/slurm/chunks"
    [ -z "$names" ] || printf '%s\n' "$names"
}

# listed: what squeue knows of them, - for the cluster that is here.
listed() {
    sought | while read -r names; do
        for cluster in ${clusters:--}; do
            printf 'intercede: squeue %s\n' "$cluster"
            [ "$cluster" != - ] || cluster=
            squeue ${cluster:+"--clusters=$cluster"} --user="$(id -u)" --noheader --states=all --name="$names" \
                --format='%F|%j' </dev/null || exit
        done
    done
}

# begun: whether a job of the chunk began; sets its id and cluster.
begun() {
    read -r job cluster <"./$stamp/slurm/begun-$first"
} 2>/dev/null

# waits: whether squeue has a job of its name.
waits() {
    case $answer in *"|ic-$stamp-$first
"*) return 0 ;; esac
    return 1
}

# chunk: tell of one: fenced, now or before; or begun, or in the queue.
chunk() {
    fence=./$stamp/slurm/begun-$first
    if [ -d "$fence" ]; then
        printf 'intercede: chunk %s %s fenced\n' "$first" "$count"
    elif begun; then
        printf 'intercede: chunk %s %s begun %s %s\n' "$first" "$count" "$job" "${clusters:+$cluster}"
    elif waits; then
        printf 'intercede: chunk %s %s listed\n' "$first" "$count"
    elif mkdir "$fence" || begun; then # it may just have begun
        chunk
    else
        return 1
    fi
}

if [ -e "./$stamp/slurm/chunks" ]; then
    answer=$(listed) || exit
    answer="$answer
"
    while read -r first count _; do
        chunk || exit
    done <"./$stamp/slurm/chunks" || exit
    printf '%s' "$answer"
fi
printf 'intercede: end\n'
