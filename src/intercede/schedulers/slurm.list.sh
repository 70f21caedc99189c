# Finds the jobs of a submission by their names. Input variables: submission_id; clusters, separated by spaces.
#
# Each chunk of copies gets one owner, and keeps it: the file owner-FIRST names the job that squeue lists, or that wrote
# this file itself when it began. If a chunk has no owner, Slurm may still have to read the request for it. If IC_FENCE
# is set, a directory owner-FIRST then keeps that job from running: it is a fence. The first process to make either of
# them decides.
# shellcheck shell=sh
slurm=./$submission_id/slurm

# each_chunk COMMAND: call COMMAND for each chunk that was to be queued, with first and count set. Afterwards, first is
# the copy after the last chunk.
each_chunk() {
    first=0
    while { read -r count <"$slurm/chunk-$first"; } 2>/dev/null; do
        case $count in '' | 0* | *[!0-9]*) return 0 ;; esac
        "$1" || return
        first=$((first + count))
    done
}

# make_directory DIRECTORY: succeed if it exists, whichever process has made it.
make_directory() {
    [ -d "$1" ] || mkdir "$1" || [ -d "$1" ]
}

# report_stuck FILE: print that FILE is neither readable nor a fence, and fail.
report_stuck() {
    printf '%s\n' "$1 cannot be read, nor made a fence: if there is no job ic-$submission_id-*, \
remove the directory $submission_id" >&2
    return 1
}

# close_chunks: make sure that no further chunk is queued. A process that still queues finds a directory in the place of
# the file for its next chunk.
close_chunks() {
    make_directory "$slurm" || return
    each_chunk true
    until make_directory "$slurm/chunk-$first"; do
        last=$first
        each_chunk true # the chunk may have been written down just now
        [ "$first" -gt "$last" ] || report_stuck "$slurm/chunk-$first" || return
    done
}

# list_by_name: print what squeue lists under the names of the chunks. The local cluster is called -.
list_by_name() {
    names=
    each_chunk add_name || return
    [ -z "$names" ] || list_names
}

# add_name: add the name of the chunk to names; list the jobs with these names when there are many.
add_name() {
    names="$names${names:+,}ic-$submission_id-$first"
    [ "${#names}" -lt 20000 ] || list_names
}

# list_names: print what squeue lists under these names on each cluster.
list_names() {
    for cluster in ${clusters:--}; do
        printf 'intercede: squeue %s\n' "$cluster"
        [ "$cluster" != - ] || cluster=
        ic_tool squeue ${cluster:+"--clusters=$cluster"} --user="$(id -u)" --noheader --states=all --name="$names" \
            --format='%F|%j' </dev/null || exit
    done
    names=
}

# pick_oldest: read the output of list_by_name; print an assignment row_SUBMISSION_ID_FIRST="JOB CLUSTER" for each
# chunk. If several jobs have its name, JOB is the oldest.
pick_oldest() {
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

# read_owner: sets job and cluster to the owner of the chunk.
read_owner() {
    read -r job cluster <"$slurm/owner-$first"
} 2>/dev/null

# write_owner JOB CLUSTER: make this job the owner of the chunk if it has none.
write_owner() {
    note=$slurm/owner-$first.find.${mark-$$}
    (set -C && printf '%s\n' "$*" >"$note") && [ -s "$note" ] && ln "$note" "$slurm/owner-$first"
    set -- $?
    rm -f "$note"
    read_owner || return "$1"
}

# find_owner: give the chunk an owner if squeue lists one, else a fence if IC_FENCE is set.
find_owner() {
    if read_owner || [ -d "$slurm/owner-$first" ]; then return; fi
    eval "row=\${row_${submission_id}_$first-}"
    if [ -n "$row" ]; then
        # shellcheck disable=SC2086 # two words
        write_owner $row
    elif [ -n "${IC_FENCE-}" ]; then
        make_directory "$slurm/owner-$first" || read_owner # the job may have begun just now
    fi
}

# print_chunk: print a line about the chunk: fenced, unknown, or its owner.
print_chunk() {
    find_owner
    word=unknown
    [ ! -d "$slurm/owner-$first" ] || word=fenced
    ! read_owner || word="owned $job ${clusters:+$cluster}"
    [ "$word" != unknown ] || [ -z "${IC_FENCE-}" ] || report_stuck "$slurm/owner-$first" || return
    printf 'intercede: chunk %s %s %s %s\n' "$submission_id" "$first" "$count" "$word"
}

if [ -d "./$submission_id" ]; then
    [ -z "${IC_FENCE-}" ] || close_chunks || exit
    answer=$(list_by_name) || exit
    rows=$(printf '%s\n' "$answer" | pick_oldest) || exit
    eval "$rows"
    each_chunk print_chunk || exit
fi
printf 'intercede: end\n'
