# shellcheck shell=sh
# ours ANSWER: print the ids of jobs that are listed under their own names. Slurm gives a number again once it has lost its
# state, or come to its highest: then another job has it, perhaps one of ours, and nobody wanted that to end.
ours() {
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

# words: from ids, print a line for some of each cluster's: its name, - for the one that is here, and what scancel takes,
# an array's tasks as ranges: one message to the controller for many.
words() {
    awk -F'[;@]' '
        function range() {
            if (low == "") return
            tasks = tasks (tasks == "" ? "" : ",") (low == high ? low : low "-" high)
            low = ""
        }
        function word() {
            range()
            if (job != "") line = line " " job (tasks == "" ? "" : "_[" tasks "]")
            job = tasks = ""
        }
        function flush() {
            word()
            if (line != "") print at line
            line = ""
        }
        /^[0-9]+(_[0-9]+)?(;[A-Za-z0-9._-]+)?@/ {
            cluster = NF > 2 ? $2 : "-"
            split($1, part, "_")
            if (cluster != at || length(line) > 20000) flush()
            at = cluster
            if (part[1] != job || part[2] == "" || length(tasks) > 1000) word()
            job = part[1]
            if (part[2] == "") {
                word()
                next
            }
            if (low == "" || part[2] != high + 1) {
                range()
                low = part[2]
            }
            high = part[2]
        }
        END { flush() }'
}

# The brackets are no patterns for files, and what cannot be ended is told by what is listed afterwards.
looked || exit
ours "$answer" | words | while read -r cluster jobs; do
    [ "$cluster" != - ] || cluster=
    set -f
    # shellcheck disable=SC2086 # numbers and brackets, to be split
    ic_tool scancel ${cluster:+"--clusters=$cluster"} $jobs </dev/null
done
looked || exit
printf '%s\nintercede: end\n' "$answer"
