# Given: submission_id; clusters, with blanks between. Each chunk of copies gets one owner, for ever: the file owner-FIRST names the
# job that squeue lists, or that noted itself when it began. Of what has none, Slurm may still have a request to read; with
# IC_FENCE a directory of that name keeps it from beginning. Whoever is first with either wins. shellcheck shell=sh
slurm=./$submission_id/slurm

# chunks COMMAND: call it with first and count set, for each that was to be queued; leaves first behind the last.
chunks() {
    first=0
    while { read -r count <"$slurm/chunk-$first"; } 2>/dev/null; do
        case $count in '' | 0* | *[!0-9]*) return 0 ;; esac
        "$1" || return
        first=$((first + count))
    done
}

# made DIRECTORY: by us, or by somebody else who looks.
made() {
    [ -d "$1" ] || mkdir "$1" || [ -d "$1" ]
}

# stuck FILE: what cannot be read can be no fence either.
stuck() {
    printf '%s\n' "$1 cannot be read, nor made a fence: if no job ic-$submission_id-* is there, remove the directory $submission_id" >&2
    return 1
}

# closed: no chunk follows. Whoever queues still finds a directory where its next note belongs.
closed() {
    made "$slurm" || return
    chunks true
    until made "$slurm/chunk-$first"; do
        last=$first
        chunks true # it may have been noted just now
        [ "$first" -gt "$last" ] || stuck "$slurm/chunk-$first" || return
    done
}

# list_by_name: what squeue has by their names, - for the cluster that is here.
list_by_name() {
    names=
    chunks sought || return
    [ -z "$names" ] || asked
}
sought() {
    names="$names${names:+,}ic-$submission_id-$first"
    [ "${#names}" -lt 20000 ] || asked
}
asked() {
    for cluster in ${clusters:--}; do
        printf 'intercede: squeue %s\n' "$cluster"
        [ "$cluster" != - ] || cluster=
        ic_tool squeue ${cluster:+"--clusters=$cluster"} --user="$(id -u)" --noheader --states=all --name="$names" \
            --format='%F|%j' </dev/null || exit
    done
    names=
}

# oldest: from that, for each chunk, what sets row_SUBMISSION_ID_FIRST: its job, the oldest of several, and its cluster.
oldest() {
    awk -v submission_id="$submission_id" -v name="|ic-$submission_id-" '
        /^intercede: squeue / { cluster = $3 }
        at = index($0, name) {
            job = substr($0, 1, at - 1)
            first = substr($0, at + length(name))
            gsub(/ /, "", job)
            gsub(/ /, "", first)
            if (job !~ /^[0-9]+$/ || first !~ /^[0-9]+$/ || cluster !~ /^[A-Za-z0-9._-]+$/) {
                print "squeue lists what cannot be read: " $0 >"/dev/stderr"
                failed = 1
                exit
            }
            if (!(first in oldest) || job + 0 < oldest[first] + 0) {
                oldest[first] = job
                where[first] = cluster
            }
        }
        END {
            if (failed) exit 1
            for (first in oldest) print "row_" submission_id "_" first "=\"" oldest[first] " " where[first] "\""
        }'
}

# owner: sets job and cluster.
owner() {
    read -r job cluster <"$slurm/owner-$first"
} 2>/dev/null

# own JOB CLUSTER: note it as the owner, if there is none.
own() {
    note=$slurm/owner-$first.find.${mark-$$}
    (set -C && printf '%s\n' "$*" >"$note") && [ -s "$note" ] && ln "$note" "$slurm/owner-$first"
    set -- $?
    rm -f "$note"
    owner || return "$1"
}

# took: a chunk has its owner; or its fence, where that is asked for; or nobody knows of it.
took() {
    if owner || [ -d "$slurm/owner-$first" ]; then return; fi
    eval "row=\${row_${submission_id}_$first-}"
    if [ -n "$row" ]; then
        # shellcheck disable=SC2086 # two words
        own $row
    elif [ -n "${IC_FENCE-}" ]; then
        made "$slurm/owner-$first" || owner # it may have begun just now
    fi
}

# tell: what became of a chunk.
tell() {
    took
    word=unknown
    [ ! -d "$slurm/owner-$first" ] || word=fenced
    ! owner || word="owned $job ${clusters:+$cluster}"
    [ "$word" != unknown ] || [ -z "${IC_FENCE-}" ] || stuck "$slurm/owner-$first" || return
    printf 'intercede: chunk %s %s %s %s\n' "$submission_id" "$first" "$count" "$word"
}

if [ -d "./$submission_id" ]; then
    [ -z "${IC_FENCE-}" ] || closed || exit
    answer=$(list_by_name) || exit
    rows=$(printf '%s\n' "$answer" | oldest) || exit
    eval "$rows"
    chunks tell || exit
fi
printf 'intercede: end\n'
