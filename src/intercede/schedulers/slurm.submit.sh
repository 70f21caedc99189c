# Given: slurm_submission_id; slurm_copies; slurm_size, how many copies an array may have, empty where that is to be asked; slurm_clusters;
# slurm_job, the text of the job; slurm_sbatch OPTION... SCRIPT ARGUMENT... shellcheck shell=sh
mkdir slurm && printf '%s\n' '#!/bin/sh' "$ic_api" "$slurm_job" >slurm/job || exit

# slurm_most: print how many tasks an array may have. MaxArraySize is one more than the highest index, 0 where there are no
# arrays; max_array_tasks is their number. Where nothing is told, Slurm's default.
slurm_most() {
    ic_tool scontrol ${slurm_clusters:+"--clusters=$slurm_clusters"} show config </dev/null | awk '
        function most(number) {
            number = number < 1 ? 1 : number + 0
            if (least == "" || number < least) least = number
        }
        $1 == "MaxArraySize" && $3 ~ /^[0-9]+$/ { most($3) }
        $1 == "SchedulerParameters" && match($0, /max_array_tasks=[0-9]+/) { most(substr($0, RSTART + 16, RLENGTH - 16)) }
        END { print least == "" ? 1001 : least }'
}

# slurm_say WORD...: tell tools' answers apart, on both channels.
slurm_say() {
    printf '\n%s %s\n' "$slurm_submission_id" "$*"
    printf '\n%s %s\n' "$slurm_submission_id" "$*" >&2
}

# slurm_note: that a chunk is to be queued, in one step: what is lost is looked for by name. Where whoever looked saw to it that
# nothing follows, a directory is in its place.
slurm_note() {
    printf '%s\n' "$slurm_count" >slurm/note && [ -s slurm/note ] && mv slurm/note "slurm/chunk-$slurm_first" &&
        [ -f "slurm/chunk-$slurm_first" ] && return
    slurm_why="its note cannot be written"
    [ ! -d "slurm/chunk-$slurm_first" ] || slurm_why="somebody looked for this submission meanwhile, and was told that nothing follows"
    printf '%s\n' "copy $slurm_first and those behind it are not queued: $slurm_why" >&2
    return 1
}

# slurm_chunk: one array, whose tasks are counted from 0: the highest index is limited, too. One copy is no array.
slurm_chunk() {
    set -- "--job-name=ic-$slurm_submission_id-$slurm_first"
    [ "$slurm_count" = 1 ] || set -- "$@" "--array=0-$((slurm_count - 1))"
    slurm_sbatch "$@" ./slurm/job "$slurm_first" "$slurm_count" </dev/null
}

[ "$slurm_copies" -gt 1 ] || slurm_size=1
slurm_size=${slurm_size:-$(slurm_most)}
slurm_first=0 slurm_code=0
while [ "$slurm_first" -lt "$slurm_copies" ] && [ "$slurm_code" = 0 ]; do
    slurm_count=$((slurm_copies - slurm_first))
    [ "$slurm_count" -le "$slurm_size" ] || slurm_count=$slurm_size
    slurm_note || exit
    slurm_say chunk "$slurm_first" "$slurm_count"
    slurm_chunk
    slurm_code=$?
    slurm_say end "$slurm_code"
    slurm_first=$((slurm_first + slurm_count))
done
exit "$slurm_code"
