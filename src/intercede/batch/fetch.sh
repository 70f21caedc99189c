# Given: max_bytes, max_files, a copy; max_seconds. shellcheck shell=sh
# keep: which files are sent. From a list of sizes and names, with LINKS.DEVICE.INODE between, it takes each copy's files
# while they fit. A name begins behind the only // that find writes, so none can pass for another's, whatever is in it,
# newlines too. (ls would not do: busybox's writes ? for what it cannot show.) SUBMISSION_ID/inputs/NAME is an input that no copy
# sends back, and SUBMISSION_ID/copies/INDEX tells that this copy is looked at: of one that has no file we know that it has none.
# Only GNU tar can be kept from writing a link for a file that it has sent under another name: others get that name in
# another list, for an archive of its own. IC_PARCEL is where reports and lists go; awk -v would read escapes in it.
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
        if (gnu && name ~ /[\\\n]/) name = joined(joined(name, "\\", "\\\\"), "\n", "\\n")
        list = gnu || links ~ /^1\./ ? 0 : times[links]++
        if (list) {
            print name >>(ENVIRON["IC_PARCEL"] "/list." list)
            close(ENVIRON["IC_PARCEL"] "/list." list)
        } else print name >(ENVIRON["IC_PARCEL"] "/list.0")
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
    links_of[part[4]] = links
}
function release(  i, part, count, last) {
    last = links
    count = split("stdout stderr log", part, " ")
    for (i = 1; i <= count; i++) if (part[i] in sizes) {
        links = links_of[part[i]]
        take(held "/" part[i], sizes[part[i]])
    }
    links = last
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
/^[0-9]+ ([0-9.]+ )?\.\/\// {
    flush()
    size = $1
    links = $2 ~ /^[0-9]/ ? $2 : ""
    name = substr($0, index($0, " .//") + 4)
    next
}
{ name = name "\n" $0 }
END {
    flush()
    release()
    for (copy in seen) print copy, files[copy] + 0, left[copy] + 0, unfit[copy] + 0 >(ENVIRON["IC_PARCEL"] "/report")
    print "whole" >(ENVIRON["IC_PARCEL"] "/report")
}'

# _ic_read_uptime: sets now, in seconds since whenever.
_ic_read_uptime() {
    { read -r now _ </proc/uptime; } 2>/dev/null || now=$(date +%s)
    now=${now%.*}
}

# _ic_run_bounded COMMAND...: run it for as long as is left of the time for all of them.
_ic_run_bounded() {
    _ic_read_uptime
    left=$((deadline - now))
    [ "$left" -gt 0 ] || return 124
    if [ -n "$timeout" ]; then timeout "$left" "$@"; else _ic_run_watched "$@"; fi
}

# _ic_find_timeout: sets timeout where there is one that tells how its command ended: toybox's (0.8.8) says 127, more often than not.
_ic_find_timeout() {
    timeout=
    ! command -v timeout >/dev/null || case $(timeout --version 2>&1) in *toybox*) ;; *) timeout=yes ;; esac
}

# _ic_run_watched COMMAND...: for where there is none.
_ic_run_watched() {
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

# _ic_list_ended SUBMISSION_ID INDEX...: list the files of those that ended, a process or two for some hundreds of copies, or for so many
# submissions that their expressions are not too much for each file.
_ic_list_ended() {
    submission_id=$1
    shift
    { read -r plan <"./$submission_id/plan" && read -r expression <"./$submission_id/find"; } 2>/dev/null || return 0 # it is purged
    plans="$plans$submission_id $plan
"
    [ ! -e "./$submission_id/spared" ] || cat "./$submission_id/spared"
    wanted=$wanted${wanted:+${expression:+ -o }}$expression
    for index; do
        here=./$submission_id/copies/$index
        what=
        [ -e "./$submission_id/finals/$index" ] || { read -r what <"$here/exit"; } 2>/dev/null || continue
        case $what in signal* | caught*) continue ;; esac # no end of it, or one that is written down before it is fetched
        [ -d "$here" ] || continue
        places="$places .//$submission_id/copies/$index"
        [ -z "$expression" ] || [ ! -d "$here/work" ] || works="$works .//$submission_id/copies/$index/work"
        count=$((count + 1))
        [ "$count" -lt 400 ] || { _ic_list_files && wanted=$expression; }
    done
    [ "$((${#wanted} + ${#plans}))" -lt 8000 ] || _ic_list_files
}
places='' works='' wanted='' plans='' count=0

# _ic_list_files: what tells most comes first, since it is to be within the limits: what was captured, then the working directories.
_ic_list_files() {
    printf %s "$plans" >&3 || exit 28 # ENOSPC: what has no plan would be told to be purged
    if [ -n "$places" ]; then
        # shellcheck disable=SC2086 # ids and numbers, to be split
        printf '0 %s\n' $places
        _ic_walk "$places" "-path '*/copies/*/*' -type d -prune -o -type f '(' -name stdout -o -name stderr -o -name log ! -size 0 ')'"
        [ -z "$works" ] || _ic_walk "$works" "! -type d ! -type s '(' $wanted ')'"
    fi
    places='' works='' wanted='' plans='' count=0
}

# _ic_walk PLACES WHICH: list the files below places that find takes: what is no file, too, apart from sockets, which tar takes
# for nothing.
_ic_walk() {
    eval "_ic_run_bounded find $1 $2 -exec stat -c '%s %h.%d.%i %n' {} +"
    code=$?
    [ "$code" = 0 ] || _ic_blame "$code" "$1"
}

# _ic_blame CODE PLACES: a listing is not whole. Tell so of the copies that cannot be walked alone; where all can, of all.
_ic_blame() {
    printf '0 .//\n'
    blamed=
    for place in $2; do
        _ic_run_bounded find "$place" >/dev/null 2>&1 || blamed="$blamed $place"
    done
    faults=
    for place in ${blamed:-$2}; do
        place=${place#.//}
        index=${place#*/copies/}
        faults="$faults${place%%/*} ${index%%/*} failed $1
"
    done
    printf %s "$faults" >>"$parcel/faults" || exit 28
}

# _ic_write_lists: write the lists. Where a shell gave up on the way they are not whole.
_ic_write_lists() {
    : >"$parcel/faults"
    { _ic_each _ic_list_ended 3>"$parcel/plans" && _ic_list_files 3>>"$parcel/plans" && echo whole >"$parcel/walked"; } | awk -v gnu="$gnu" \
        -v max_bytes="$max_bytes" -v max_files="$max_files" "$keep" || return
    [ -s "$parcel/walked" ] && _ic_is_whole
}

# _ic_is_whole: whether the report is, which awk writes last: busybox's does not see that a disk is full.
_ic_is_whole() {
    [ "$(tail -n 1 "$parcel/report")" = whole ]
}

_ic_print_plans() {
    cat "$parcel/plans"
}

_ic_print_report() {
    cat "$parcel/report" "$parcel/faults"
}

# _ic_send_archives: one, where tar takes a list; busybox's may not, and gets some hundreds of names at a time.
_ic_send_archives() {
    number=0
    for list in "$parcel"/list.*; do
        [ -e "$list" ] || continue
        if [ -n "$gnu" ]; then
            _ic_frame archive.0 _ic_run_bounded tar --hard-dereference -cf - -T "$list"
        else
            _ic_send_in_pieces <"$list"
        fi
    done
}

_ic_send_in_pieces() {
    set --
    while IFS= read -r name; do
        set -- "$@" "$name"
        [ $# -lt 300 ] || _ic_send_piece "$@"
        [ $# -lt 300 ] || set --
    done
    [ $# = 0 ] || _ic_send_piece "$@"
}

# shellcheck disable=SC2086 # an option or none
_ic_send_piece() {
    _ic_frame "archive.$number" _ic_run_bounded tar $format -cf - -- "$@"
    number=$((number + 1))
}

# _ic_send: first what is to come, then one archive of all.
_ic_send() {
    _ic_find_room # where a look before this found some
    parcel=$lists/.parcel.$mark IC_PARCEL=$lists/.parcel.$mark
    export IC_PARCEL
    mkdir "$parcel" || return
    trap 'rm -rf "$parcel" "$lists/.ids.$mark" "$lists/.open.$mark"; [ "$lists" = "$root" ] || rm -rf "$lists"' EXIT
    LC_ALL=C
    export LC_ALL # what tar says of files is read
    gnu='' format=''
    case $(tar --version 2>/dev/null) in
    *"GNU tar"*) gnu=1 ;;
    *bsdtar*) format=--format=gnutar ;; # in which it writes no sparse files
    esac
    _ic_find_timeout
    _ic_read_uptime
    deadline=$((now + max_seconds))
    _ic_frame listed _ic_write_lists
    [ "$_ic_code" = 0 ] || return
    _ic_frame plans _ic_print_plans
    _ic_frame report _ic_print_report
    _ic_send_archives
    _ic_frame sent true
}
