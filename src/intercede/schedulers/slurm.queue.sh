# Lists jobs with squeue, for status and kill. shellcheck shell=sh
[ -r "$IC_IDS" ] || exit

# group_ids: read native ids; print lines "CLUSTER JOBS NAMES", up to 2000 jobs a line. CLUSTER is - for the local
# cluster. JOBS are job ids, that of an array once, and NAMES the names that these jobs must have. A line has at least
# two job ids, one of them twice if need be: Slurm refuses a single id that it does not know, and ignores unknown ones
# among several.
group_ids() {
    awk -F'[;@]' '
        function flush(cluster) {
            if (count[cluster]) print cluster, list[cluster] first[cluster], substr(names[cluster], 2)
            count[cluster] = 0
            list[cluster] = names[cluster] = ""
        }
        /^[0-9]+(_[0-9]+)?(;[A-Za-z0-9._-]+)?@[a-z0-9]+-[0-9]+$/ {
            cluster = NF > 2 ? $2 : "-"
            job = $1
            sub(/_.*/, "", job)
            if ((cluster, job, $NF) in seen) next
            seen[cluster, job, $NF] = 1
            if (!count[cluster]++) first[cluster] = job
            list[cluster] = list[cluster] job ","
            names[cluster] = names[cluster] ",ic-" $NF
            if (count[cluster] == 2000) flush(cluster)
        }
        END { for (cluster in count) flush(cluster) }'
}

# list_jobs: print what squeue lists. The controller sends only the jobs of this user. The columns that are read are
# wide enough, and the one that may hold anything comes last.
list_jobs() {
    group_ids <"$IC_IDS" | while read -r cluster ids _; do
        printf 'intercede: squeue %s\n' "$cluster"
        [ "$cluster" != - ] || cluster=
        ic_tool squeue ${cluster:+"--clusters=$cluster"} --user="$(id -u)" --noheader --array --states=all \
            --jobs="$ids" --Format='JobArrayID:40|,State:24|,exit_code:12|,Name:40|,Reason:48|' </dev/null || exit
    done
}

# query_queue: sets answer to what squeue lists, without the spaces that pad its columns.
query_queue() {
    answer=$(list_jobs) && answer=$(printf '%s\n' "$answer" | tr -s ' ')
}
