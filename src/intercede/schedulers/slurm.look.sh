# What status and kill share. shellcheck shell=sh
[ -r "$IC_IDS" ] || exit

# grouped: from ids, print a line for some of each cluster's: its name, - for the one that is here; their job ids, an
# array's once; and the names that they must have. Two ids at least: Slurm refuses a single one that it does not know, and
# is silent about any of several.
grouped() {
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

# listed: what squeue lists. The controller sends this user's jobs only. No width is cut that is read, and what may hold
# anything comes last.
listed() {
    grouped <"$IC_IDS" | while read -r cluster ids _; do
        printf 'intercede: squeue %s\n' "$cluster"
        [ "$cluster" != - ] || cluster=
        ic_tool squeue ${cluster:+"--clusters=$cluster"} --user="$(id -u)" --noheader --array --states=all --jobs="$ids" \
            --Format='JobArrayID:40|,State:24|,exit_code:12|,Name:40|,Reason:48|' </dev/null || exit
    done
}

# looked: sets answer to that, without what pads columns to their widths.
looked() {
    answer=$(listed) && answer=$(printf '%s\n' "$answer" | tr -s ' ')
}
