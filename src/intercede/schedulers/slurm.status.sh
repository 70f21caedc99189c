# Lists the jobs in $IC_IDS with squeue, and with sacct those that squeue does not list. shellcheck shell=sh

# ask_accounting CLUSTER OPTION...: print what sacct answers and its exit code, 124 if it has no answer within ten
# seconds. sacct itself waits longer for a daemon that does not respond, and every caller of status would wait with it.
ask_accounting() {
    printf '\nintercede: sacct %s\n' "$1"
    cluster=$1
    shift
    [ "$cluster" = - ] || set -- "--clusters=$cluster" "$@"
    set -- sacct --allocations --noheader --parsable2 "$@"
    ! command -v timeout >/dev/null || set -- timeout 10 "$@"
    ic_tool "$@" </dev/null 2>&1
    printf '\nintercede: code %s\n' "$?"
}

# print_unlisted ANSWER: print the ids that squeue does not list under their names. The row of a whole array that was
# cancelled before it began does not count, because accounting knows more about tasks that had ended before. If the name
# in a row cannot be read, the job counts as listed.
print_unlisted() {
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

# query_unlisted: read native ids; print what squeue lists of waiting tasks, as ranges, and what accounting knows. If
# squeue lists waiting tasks one by one, it omits the last one of a range with steps: 1 to 997 for 1-999:2. If sacct is
# asked by number, it answers for the jobs of all users, and only for the last job of each number. The user and the
# names make it the last of ours.
query_unlisted() {
    group_ids | while read -r cluster ids names; do
        printf 'intercede: squeue %s\n' "$cluster"
        name=$cluster
        [ "$cluster" != - ] || cluster=
        ic_tool env SLURM_BITSTR_LEN=0 squeue ${cluster:+"--clusters=$cluster"} --user="$(id -u)" --noheader \
            --states=PENDING --jobs="$ids" --format='%i|%T|0|%j|%r|' </dev/null || exit
        ask_accounting "$name" --user="$(id -u)" --name="$names" --jobs="$ids" --format=JobID,State,ExitCode,JobName
    done
}

query_queue || exit
printf '%s\n' "$answer"
rest=$(print_unlisted "$answer")
# shellcheck disable=SC2086 # ids, to be split
[ -z "$rest" ] || printf 'intercede: unlisted %s\n' $rest
printf '%s\n' "$rest" | query_unlisted || exit
printf '\nintercede: end\n'
