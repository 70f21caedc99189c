# Given: max_bytes, max_files, a copy; max_seconds. shellcheck shell=sh
# keep: which files are sent. From a list of sizes and names it takes each copy's files while they fit. A name begins
# behind the only // that find writes, so none can pass for another's, whatever is in it, newlines too. (ls would not
# do: busybox's writes ? for what it cannot show.) STAMP/inputs/NAME is an input that no copy sends back, and
# STAMP/copies/INDEX tells that this copy is looked at: of one that has no file we know that it has none.
# shellcheck disable=SC2016 # awk's
keep='
function joined(text, old, new,  parts, i, n, all) {
    n = split(text, parts, old)
    all = parts[1]
    for (i = 2; i <= n; i++) all = all new parts[i]
    return all
}
function take(name, size,  part, copy, work) {
    split(name, part, "/")
    copy = part[1] " " part[3]
    work = part[1] "/copies/" part[3] "/work/"
    if (part[2] == "inputs") spared[name] = 1
    else if (part[4] == "") seen[copy] = 1
    else if (part[4] == "work" && (part[1] "/inputs/" substr(name, length(work) + 1)) in spared) return
    else if (bytes[copy] + size > max_bytes || files[copy] + 1 > max_files) left[copy]++
    else if (!gnu && name ~ /\n/) unfit[copy]++
    else {
        bytes[copy] += size
        files[copy]++
        print gnu && name ~ /[\\\n]/ ? joined(joined(name, "\\", "\\\\"), "\n", "\\n") : name
    }
}
function hold(name, size,  part) { # what was captured comes from find in any order
    split(name, part, "/")
    if (part[2] != "copies" || part[5] != "" || part[4] !~ /^(stdout|stderr|log)$/) {
        release()
        take(name, size)
        return
    }
    if (part[1] "/copies/" part[3] != held) release()
    held = part[1] "/copies/" part[3]
    sizes[part[4]] = size
}
function release() {
    if ("stdout" in sizes) take(held "/stdout", sizes["stdout"])
    if ("stderr" in sizes) take(held "/stderr", sizes["stderr"])
    if ("log" in sizes) take(held "/log", sizes["log"])
    split("", sizes)
}
function flush() {
    if (name != "") hold(name, size)
    name = ""
}
/\.\/\/$/ { # the end of a listing that failed, perhaps within a line
    if ($0 == "0 .//") flush()
    name = ""
    next
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
    release()
    for (copy in seen) print copy, files[copy] + 0, left[copy] + 0, unfit[copy] + 0 > report
}'

# clock: sets now, in seconds since whenever.
clock() {
    { read -r now _ </proc/uptime; } 2>/dev/null || now=$(date +%s)
    now=${now%.*}
}

# bounded COMMAND...: run it for as long as is left of the time for all of them.
bounded() {
    clock
    left=$((deadline - now))
    [ "$left" -gt 0 ] || return 124
    if command -v timeout >/dev/null; then timeout "$left" "$@"; else watched "$@"; fi
}

# watched COMMAND...: for where there is no timeout.
watched() {
    "$@" &
    worker=$!
    {
        while [ "$left" -gt 0 ]; do
            sleep 1
            left=$((left - 1))
        done
        kill "$worker"
    } >/dev/null 2>&1 &
    dog=$!
    wait "$worker"
    set -- $?
    kill "$dog"
    return "$1"
}

# ended STAMP INDEX...: list the files of those that ended, a process or two for some hundreds of copies.
ended() {
    stamp=$1
    shift
    { read -r plan <"./$stamp/plan" && read -r expression <"./$stamp/find"; } 2>/dev/null || return 0 # it is purged
    printf '%s %s\n' "$stamp" "$plan" >&3
    [ ! -e "./$stamp/spared" ] || cat "./$stamp/spared"
    places=
    count=0
    for index; do
        here=./$stamp/copies/$index
        what=
        [ -e "./$stamp/finals/$index" ] || { read -r what <"$here/exit"; } 2>/dev/null || continue
        case $what in signal* | caught*) continue ;; esac # no end of it, or one that is written down before it is fetched
        [ -d "$here" ] || continue
        places="$places .//$stamp/copies/$index"
        count=$((count + 1))
        [ "$count" -lt 400 ] || list
    done
    list
}

# list: what tells most comes first, since it is to be within the limits: what was captured, then the working directories.
list() {
    [ -n "$places" ] || return 0
    # shellcheck disable=SC2086 # stamps and numbers, to be split
    printf '0 %s\n' $places
    walk "-path '*/copies/*/*' -type d -prune -o -type f '(' -name stdout -o -name stderr -o -name log ! -size 0 ')'"
    if [ -n "$expression" ]; then
        works=
        for place in $places; do
            [ ! -d "$place/work" ] || works="$works $place/work"
        done
        places=$works
        [ -z "$places" ] || walk "-type f '(' $expression ')'"
    fi
    places=
    count=0
}

# walk WHICH: list the files below places that find takes.
walk() {
    eval "bounded find $places $1 -exec stat -c '%s %n' {} +"
    code=$?
    [ "$code" = 0 ] || blame "$code"
}

# blame CODE: a listing is not whole. Tell so of the copies that cannot be walked alone; where all can, of all.
blame() {
    printf '0 .//\n'
    blamed=
    for place in $places; do
        bounded find "$place" >/dev/null 2>&1 || blamed="$blamed $place"
    done
    for place in ${blamed:-$places}; do
        place=${place#*/copies/}
        printf '%s %s failed %s\n' "$stamp" "${place%%/*}" "$1"
    done >>"$parcel/faults"
}

plans() {
    cat "$parcel/plans"
}

report() {
    cat "$parcel/report" "$parcel/faults"
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
    room # where a look before this found some
    parcel=$lists/.parcel.$mark
    mkdir "$parcel" || return
    trap 'rm -rf "$parcel" "$lists/.ids.$mark" "$lists/.open.$mark"; [ "$lists" = "$root" ] || rm -rf "$lists"' EXIT
    LC_ALL=C
    export LC_ALL # what tar says of files is read
    gnu=
    case $(tar --version 2>/dev/null) in *"GNU tar"*) gnu=1 ;; esac
    : >"$parcel/report"
    : >"$parcel/faults"
    clock
    deadline=$((now + max_seconds))
    { each ended 3>"$parcel/plans" && : >"$parcel/listed"; } |
        awk -v gnu="$gnu" -v max_bytes="$max_bytes" -v max_files="$max_files" -v report="$parcel/report" "$keep" >"$parcel/list" ||
        return
    [ -e "$parcel/listed" ] || return # a shell that gave up on the way
    frame plans plans
    frame report report
    archives
    frame sent true
}
