# shellcheck shell=sh
# unlisted ANSWER: print the ids that squeue does not list. A line without a task is about all of its array.
unlisted() {
    printf '%s\n' "$1" | awk '
        /^intercede: squeue / { cluster = $3 }
        match($0, /^ *[0-9]+(_[0-9]+)?/) {
            job = substr($0, 1, RLENGTH)
            gsub(/ /, "", job)
            listed[cluster, job] = 1
        }
        END {
            while ((getline id <ENVIRON["IC_IDS"]) > 0) {
                split(id ";-", part, ";")
                array = part[1]
                sub(/_.*/, "", array)
                if (!((part[2], part[1]) in listed) && !((part[2], array) in listed)) print id
            }
        }'
}

# accounted: what accounting knows of ids.
accounted() {
    grouped | while read -r cluster ids; do
        printf 'intercede: sacct %s\n' "$cluster"
        [ "$cluster" != - ] || cluster=
        sacct ${cluster:+"--clusters=$cluster"} --allocations --noheader --parsable2 --jobs="$ids" \
            --format=JobID,State,ExitCode </dev/null 2>&1
        printf '\nintercede: code %s\n' "$?"
    done
}

answer=$(listed) || exit
printf '%s\n' "$answer"
unlisted "$answer" | accounted
printf '\nintercede: end\n'
