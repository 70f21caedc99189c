# What status and kill share. shellcheck shell=sh
[ -r "$IC_IDS" ] || exit

# grouped: from ids, print a line for some of each cluster's: its name, - for the one that is here, and their job ids, an
# array's once. Two at least: Slurm refuses a single one that it does not know, and is silent about any of several.
grouped() {
    awk -F';' '
        function flush(cluster) {
            if (count[cluster]) print cluster, list[cluster] first[cluster]
            count[cluster] = 0
            list[cluster] = ""
        }
        /^[0-9]+(_[0-9]+)?(;[A-Za-z0-9._-]+)?$/ {
            cluster = NF > 1 ? $2 : "-"
            job = $1
            sub(/_.*/, "", job)
            if ((cluster, job) in seen) next
            seen[cluster, job] = 1
            if (!count[cluster]++) first[cluster] = job
            list[cluster] = list[cluster] job ","
            if (count[cluster] == 2000) flush(cluster)
        }
        END { for (cluster in count) flush(cluster) }'
}

# listed: what squeue lists. The controller sends this user's jobs only. No width is cut that is read, and what may hold
# anything comes last.
listed() {
    grouped <"$IC_IDS" | while read -r cluster ids; do
        printf 'intercede: squeue %s\n' "$cluster"
        [ "$cluster" != - ] || cluster=
        squeue ${cluster:+"--clusters=$cluster"} --user="$(id -u)" --noheader --array --states=all --jobs="$ids" \
            --Format='JobArrayID:40|,State:24|,exit_code:12|,Name:40|,Reason:48|' </dev/null || exit
    done
}

# looked: sets answer to that, without what pads columns to their widths.
looked() {
    answer=$(listed) && answer=$(printf '%s\n' "$answer" | tr -s ' ')
}
