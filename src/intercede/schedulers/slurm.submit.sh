# Given: ic_stamp; ic_copies; ic_size, how many copies an array may have, empty where that is to be asked; ic_clusters;
# ic_job, the text of the job; ic_sbatch OPTION... SCRIPT ARGUMENT... shellcheck shell=sh
mkdir slurm && printf '%s\n' "$ic_job" >slurm/job || exit

# ic_slurm COMMAND...: run one of Slurm's own.
ic_slurm() {
    (ic_forget && native "$@")
}

# ic_most: print how many tasks an array may have. MaxArraySize is one more than the highest index, 0 where there are no
# arrays; max_array_tasks is their number. Where nothing is told, Slurm's default.
ic_most() {
    ic_slurm scontrol ${ic_clusters:+"--clusters=$ic_clusters"} show config </dev/null | awk '
        function most(number) {
            number = number < 1 ? 1 : number + 0
            if (least == "" || number < least) least = number
        }
        $1 == "MaxArraySize" && $3 ~ /^[0-9]+$/ { most($3) }
        $1 == "SchedulerParameters" && match($0, /max_array_tasks=[0-9]+/) { most(substr($0, RSTART + 16, RLENGTH - 16)) }
        END { print least == "" ? 1001 : least }'
}

# ic_say WORD...: tell tools' answers apart, on both channels.
ic_say() {
    printf '\n%s %s\n' "$ic_stamp" "$*"
    printf '\n%s %s\n' "$ic_stamp" "$*" >&2
}

# ic_note: that a chunk is to be queued, in one step: what is lost is looked for by name. Where whoever looked saw to it that
# nothing follows, a directory is in its place.
ic_note() {
    printf '%s\n' "$ic_count" >slurm/note && [ -s slurm/note ] && mv slurm/note "slurm/chunk-$ic_first" &&
        [ -f "slurm/chunk-$ic_first" ] && return
    ic_why="its note cannot be written"
    [ ! -d "slurm/chunk-$ic_first" ] || ic_why="somebody looked for this submission meanwhile, and was told that nothing follows"
    printf '%s\n' "copy $ic_first and those behind it are not queued: $ic_why" >&2
    return 1
}

# ic_chunk: one array, whose tasks are counted from 0: the highest index is limited, too. One copy is no array.
ic_chunk() {
    set -- "--job-name=ic-$ic_stamp-$ic_first"
    [ "$ic_count" = 1 ] || set -- "$@" "--array=0-$((ic_count - 1))"
    ic_sbatch "$@" ./slurm/job "$ic_first" "$ic_count" </dev/null
}

[ "$ic_copies" -gt 1 ] || ic_size=1
ic_size=${ic_size:-$(ic_most)}
ic_first=0 ic_code=0
while [ "$ic_first" -lt "$ic_copies" ] && [ "$ic_code" = 0 ]; do
    ic_count=$((ic_copies - ic_first))
    [ "$ic_count" -le "$ic_size" ] || ic_count=$ic_size
    ic_note || exit
    ic_say chunk "$ic_first" "$ic_count"
    ic_chunk
    ic_code=$?
    ic_say end "$ic_code"
    ic_first=$((ic_first + ic_count))
done
exit "$ic_code"
