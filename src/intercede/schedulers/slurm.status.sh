# shellcheck shell=sh
# accounted CLUSTER OPTION...: what accounting knows of these, and the exit code of sacct: 124 where it had no answer in ten
# seconds. By itself it waits longer for a daemon that stands still, and everybody would wait with it.
accounted() {
    printf '\nintercede: sacct %s\n' "$1"
    cluster=$1
    shift
    [ "$cluster" = - ] || set -- "--clusters=$cluster" "$@"
    set -- sacct --allocations --noheader --parsable2 "$@"
    ! command -v timeout >/dev/null || set -- timeout 10 "$@"
    ic_tool "$@" </dev/null 2>&1
    printf '\nintercede: code %s\n' "$?"
}

# unlisted ANSWER: print the ids that squeue does not list under their names. A row of a whole array, cancelled before it
# began, does not count: of tasks that were over by then accounting knows better. Nor does a row whose name cannot be read
# leave a job to accounting.
unlisted() {
    printf '%s\n' "$1" | awk -F'|' '
        /^intercede: squeue / { cluster = substr($0, 19) }
        match($0, /^ *[0-9]+(_[0-9]+)?/) {
            job = substr($0, 1, RLENGTH)
            name = NF > 5 ? $4 : "*"
            gsub(/ /, "", job)
            gsub(/ /, "", name)
            listed[cluster, job, name] = 1
        }
        END {
            while ((getline id <ENVIRON["IC_IDS"]) > 0) {
                if (id !~ /^[0-9]+(_[0-9]+)?(;[A-Za-z0-9._-]+)?@[a-z0-9]+-[0-9]+$/) continue
                parts = split(id, part, "[;@]")
                cluster = parts > 2 ? part[2] : "-"
                if (!((cluster, part[1], "ic-" part[parts]) in listed || (cluster, part[1], "*") in listed)) print id
            }
        }'
}

# asked_again: what squeue says of tasks that wait, as ranges, and what accounting knows. Of tasks that wait one by one squeue
# loses the last where a range has steps: of 1-999:2 it lists 1 to 997. By numbers sacct tells of everybody's jobs, and of
# one number the last job only: a user and names make it the last of ours.
asked_again() {
    grouped | while read -r cluster ids names; do
        printf 'intercede: squeue %s\n' "$cluster"
        name=$cluster
        [ "$cluster" != - ] || cluster=
        ic_tool env SLURM_BITSTR_LEN=0 squeue ${cluster:+"--clusters=$cluster"} --user="$(id -u)" --noheader --states=PENDING \
            --jobs="$ids" --format='%i|%T|0|%j|%r|' </dev/null || exit
        accounted "$name" --user="$(id -u)" --name="$names" --jobs="$ids" --format=JobID,State,ExitCode,JobName
    done
}

looked || exit
printf '%s\n' "$answer"
rest=$(unlisted "$answer")
# shellcheck disable=SC2086 # ids, to be split
[ -z "$rest" ] || printf 'intercede: unlisted %s\n' $rest
printf '%s\n' "$rest" | asked_again || exit
printf '\nintercede: end\n'
