# Given: max_bytes, max_files, a copy; max_seconds. shellcheck shell=sh
# keep: which files are sent. From a list of sizes and names it takes each copy's files while they fit. A name begins
# behind the only // that find writes, so none can pass for another's, whatever is in it, newlines too. (ls would not
# do: busybox's writes ? for what it cannot show.)
# shellcheck disable=SC2016 # awk's
keep='
function joined(text, old, new,  parts, i, n, all) {
    n = split(text, parts, old)
    all = parts[1]
    for (i = 2; i <= n; i++) all = all new parts[i]
    return all
}
function flush(  part, copy) {
    if (name == "") return
    split(name, part, "/")
    copy = part[1] " " part[3]
    if (bytes[copy] + size > max_bytes || files[copy] + 1 > max_files) left[copy]++
    else if (!gnu && name ~ /\n/) unfit[copy]++
    else {
        bytes[copy] += size
        files[copy]++
        print gnu ? joined(joined(name, "\\", "\\\\"), "\n", "\\n") : name
    }
    seen[copy] = 1
    name = ""
}
/^[0-9]+ \.\/\// {
    flush()
    size = $1
    name = substr($0, index($0, " .//") + 4)
    next
}
{ name = name "\n" $0 }
END {
    flush()
    for (copy in seen) print copy, files[copy] + 0, left[copy] + 0, unfit[copy] + 0 > report
}'

# bounded COMMAND...: run it for as long as is left.
bounded() {
    if command -v timeout >/dev/null; then timeout "$max_seconds" "$@"; else "$@"; fi
}

# ended STAMP INDEX...: list the files of those that ended, a process for some hundreds of copies.
ended() {
    stamp=$1
    shift
    [ -e "./$stamp/plan" ] || return 0 # purged, or never there
    [ -e "./$stamp/plan" ] || return 0 # purged, or never there
    read -r plan <"./$stamp/plan"
    printf '%s %s\n' "$stamp" "$plan" >&3
    places=
    count=0
    for index; do
        here=./$stamp/copies/$index
        [ -e "$here/exit" ] || [ -e "$here/final" ] || continue # whoever asked knows which of these count
        for place in stdout stderr log work; do # what tells most comes first: it is to be within the limits
            [ ! -e "$here/$place" ] || places="$places .//$stamp/copies/$index/$place"
        done
        count=$((count + 1))
        [ "$count" -lt 200 ] || list
    done
    [ "$count" = 0 ] || list
}

list() {
    read -r expression <"./$stamp/find"
    # shellcheck disable=SC2086 # stamps and numbers, to be split
    eval "bounded find $places -type f '(' $expression ')' -exec stat -c '%s %n' {} +"
    case $? in 124 | 143) printf '%s cut\n' "$stamp" >>"$parcel/cut" ;; esac
    places=
    count=0
}

plans() {
    cat "$parcel/plans"
}

report() {
    cat "$parcel/report" "$parcel/cut"
}

# archives: one, where tar takes a list; busybox's may not, and gets some hundreds of names at a time.
archives() {
    if [ -n "$gnu" ]; then
        [ ! -s "$parcel/list" ] || frame archive.0 bounded tar --hard-dereference -cf - -T "$parcel/list"
        return
    fi
    set --
    number=0
    while IFS= read -r name; do
        set -- "$@" "$name"
        if [ $# -ge 300 ]; then
            frame "archive.$number" bounded tar -cf - -- "$@"
            set --
            number=$((number + 1))
        fi
    done <"$parcel/list"
    [ $# = 0 ] || frame "archive.$number" bounded tar -cf - -- "$@"
}

# send: first what is to come, then one archive of all.
send() {
    parcel=./.parcel.$mark
    mkdir "$parcel" || return
    trap 'rm -rf "$parcel" "$IC_IDS" "$root/.open.$mark"' EXIT
    gnu=
    case $(tar --version 2>/dev/null) in *"GNU tar"*) gnu=1 ;; esac
    : >"$parcel/report"
    : >"$parcel/cut"
    each ended 3>"$parcel/plans" |
        awk -v gnu="$gnu" -v max_bytes="$max_bytes" -v max_files="$max_files" -v report="$parcel/report" "$keep" >"$parcel/list"
    frame plans plans
    frame report report
    archives
    frame sent true
}
