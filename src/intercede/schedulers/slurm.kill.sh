# Ends the jobs in $IC_IDS with scancel. shellcheck shell=sh

# print_own_jobs ANSWER: print the ids of jobs that squeue lists under their own names. Slurm uses a number again after
# it has lost its state, or has reached its highest number. Then the number belongs to another job, which must not be
# ended.
print_own_jobs() {
    printf '%s\n' "$1" | awk -F'|' '
        function job(id) {
            alone = id !~ /_/
            gsub(/ |_.*/, "", id)
            return id
        }
        /^intercede: squeue / { cluster = substr($0, 19) }
        $4 ~ /^ *ic-[a-z0-9]+-[0-9]+ *$/ {
            number = job($1)
            name = $4
            gsub(/ /, "", name)
            known[cluster, number, alone, name] = 1
        }
        END {
            while ((getline id <ENVIRON["IC_IDS"]) > 0) {
                parts = split(id, part, "[;@]")
                if (parts < 2) continue
                number = job(part[1])
                if ((parts > 2 ? part[2] : "-", number, alone, "ic-" part[parts]) in known) print id
            }
        }'
}

# write_arguments: read native ids; print lines "CLUSTER JOB...", for one scancel each. CLUSTER is - for the local
# cluster. The tasks of an array are written as ranges, so that one message to the controller ends many.
write_arguments() {
    awk -F'[;@]' '
        function end_range() {
            if (low == "") return
            tasks = tasks (tasks == "" ? "" : ",") (low == high ? low : low "-" high)
            low = ""
        }
        function end_job() {
            end_range()
            if (job != "") line = line " " job (tasks == "" ? "" : "_[" tasks "]")
            job = tasks = ""
        }
        function flush() {
            end_job()
            if (line != "") print at line
            line = ""
        }
        /^[0-9]+(_[0-9]+)?(;[A-Za-z0-9._-]+)?@/ {
            cluster = NF > 2 ? $2 : "-"
            split($1, part, "_")
            if (cluster != at || length(line) > 20000) flush()
            at = cluster
            if (part[1] != job || part[2] == "" || length(tasks) > 1000) end_job()
            job = part[1]
            if (part[2] == "") {
                end_job()
                next
            }
            if (low == "" || part[2] != high + 1) {
                end_range()
                low = part[2]
            }
            high = part[2]
        }
        END { flush() }'
}

# The second listing shows which jobs could not be ended.
query_queue || exit
print_own_jobs "$answer" | write_arguments | while read -r cluster jobs; do
    [ "$cluster" != - ] || cluster=
    set -f # the brackets of ranges are no patterns of file names
    # shellcheck disable=SC2086 # numbers and brackets, to be split
    ic_tool scancel ${cluster:+"--clusters=$cluster"} $jobs </dev/null
done
query_queue || exit
printf '%s\nintercede: end\n' "$answer"
