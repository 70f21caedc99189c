# The caller sets max_bytes and max_files, the limits for each copy, and max_seconds. shellcheck shell=sh
#
# keep is an awk program that chooses the files to send. It reads lines "SIZE LINKS.DEVICE.INODE NAME" and takes the
# files of each copy until a limit is reached. find writes // only at the beginning of a name, so a name with newlines
# or blanks cannot be taken for another line. (ls is not used, because the ls of busybox writes ? for some characters.)
# A name SUBMISSION_ID/inputs/NAME is an input that no copy sends back. A name SUBMISSION_ID/copies/INDEX says that the
# copy was listed, even if it has no files. If a file has a second name, GNU tar has an option to send it twice. Other
# tars write a link for the second name, so that name goes into another list and another archive. IC_FILE_LISTS is the
# directory for the reports and lists. It is no awk variable, because awk -v would interpret escapes.
# shellcheck disable=SC2016 # the program is awk's
keep='
function replace_all(text, old, new,  parts, i, n, all) {
    n = split(text, parts, old)
    all = parts[1]
    for (i = 2; i <= n; i++) all = all new parts[i]
    return all
}
function take(name, size,  part, copy, work) {
    split(name, part, "/")
    copy = part[1] " " part[3]
    work = part[1] "/copies/" part[3] "/work/"
    if (part[2] == "inputs") unsent[name] = 1
    else if (part[4] == "") seen[copy] = 1
    else if (part[4] == "work" && (part[1] "/inputs/" substr(name, length(work) + 1)) in unsent) return
    else if (bytes[copy] + size > max_bytes || files[copy] + 1 > max_files) left_out[copy]++
    else if (!gnu && name ~ /\n/) unfit[copy]++
    else {
        bytes[copy] += size
        files[copy]++
        if (gnu && name ~ /[\\\n]/) name = replace_all(replace_all(name, "\\", "\\\\"), "\n", "\\n")
        list = gnu || links ~ /^1\./ ? 0 : times[links]++
        if (list) {
            print name >>(ENVIRON["IC_FILE_LISTS"] "/list." list)
            close(ENVIRON["IC_FILE_LISTS"] "/list." list)
        } else print name >(ENVIRON["IC_FILE_LISTS"] "/list.0")
    }
}
function hold(name, size,  part) { # find lists stdout, stderr and log in any order: release sorts them
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
/\.\/\/$/ { # the end of a listing that failed, perhaps in the middle of a line
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
    report = ENVIRON["IC_FILE_LISTS"] "/report"
    for (copy in seen) print copy, files[copy] + 0, left_out[copy] + 0, unfit[copy] + 0 >report
    print "whole" >report
}'

# _ic_read_uptime: set now, in seconds of a clock that never jumps, if there is one.
_ic_read_uptime() {
    { read -r now _ </proc/uptime; } 2>/dev/null || now=$(date +%s)
    now=${now%.*}
}

# _ic_run_in_time COMMAND...: run a command until the deadline. Exit code 124 or 143 means that the time is up.
_ic_run_in_time() {
    _ic_read_uptime
    seconds_left=$((deadline - now))
    [ "$seconds_left" -gt 0 ] || return 124
    if [ -n "$has_timeout" ]; then timeout "$seconds_left" "$@"; else _ic_run_with_watchdog "$@"; fi
}

# _ic_find_timeout: set has_timeout to yes if timeout(1) is installed and returns the exit code of its command. The one
# of toybox (0.8.8) often returns 127 instead.
_ic_find_timeout() {
    has_timeout=
    ! command -v timeout >/dev/null || case $(timeout --version 2>&1) in *toybox*) ;; *) has_timeout=yes ;; esac
}

# _ic_run_with_watchdog COMMAND...: run a command for at most $seconds_left seconds, without timeout(1).
_ic_run_with_watchdog() {
    "$@" &
    worker=$!
    {
        while [ "$seconds_left" -gt 0 ]; do
            sleep 1
            seconds_left=$((seconds_left - 1))
        done
        kill "$worker"
    } >/dev/null 2>&1 &
    watchdog=$!
    wait "$worker"
    set -- $?
    kill "$watchdog"
    return "$1"
}

# _ic_list_ended SUBMISSION_ID INDEX...: list the files of the copies that ended. One find takes some hundreds of
# copies, and as many submissions as keep its expression short, because it tests the expression on each file.
_ic_list_ended() {
    submission_id=$1
    shift
    # A submission without these files was purged.
    { read -r plan <"./$submission_id/plan" && read -r expression <"./$submission_id/find"; } 2>/dev/null || return 0
    plans="$plans$submission_id $plan
"
    [ ! -e "./$submission_id/spared" ] || cat "./$submission_id/spared"
    expressions=$expressions${expressions:+${expression:+ -o }}$expression
    for index; do
        directory=./$submission_id/copies/$index
        ending=
        [ -e "./$submission_id/finals/$index" ] || { read -r ending <"$directory/exit"; } 2>/dev/null || continue
        case $ending in signal* | caught*) continue ;; esac # the end is not final, or will be recorded before the fetch
        [ -d "$directory" ] || continue
        paths="$paths .//$submission_id/copies/$index"
        if [ -n "$expression" ] && [ -d "$directory/work" ]; then
            work_paths="$work_paths .//$submission_id/copies/$index/work"
        fi
        count=$((count + 1))
        [ "$count" -lt 400 ] || { _ic_list_files && expressions=$expression; }
    done
    [ "$((${#expressions} + ${#plans}))" -lt 8000 ] || _ic_list_files
}
paths='' work_paths='' expressions='' plans='' count=0

# _ic_list_files: list the files that were collected so far. The output and logs come first, so that they are within the
# limits; then come the working directories.
_ic_list_files() {
    printf %s "$plans" >&3 || exit 28 # ENOSPC: a copy without a plan would be reported as purged
    if [ -n "$paths" ]; then
        # shellcheck disable=SC2086 # ids and numbers: the words must be split
        printf '0 %s\n' $paths
        output="-type f '(' -name stdout -o -name stderr -o -name log ! -size 0 ')'"
        _ic_list_below "$paths" "-path '*/copies/*/*' -type d -prune -o $output"
        [ -z "$work_paths" ] || _ic_list_below "$work_paths" "! -type d ! -type s '(' $expressions ')'"
    fi
    paths='' work_paths='' expressions='' plans='' count=0
}

# _ic_list_below PLACES EXPRESSION: list the files below the places that match the expression. Links, devices and fifos
# are listed as well; sockets are not, because tar skips them.
_ic_list_below() {
    eval "_ic_run_in_time find $1 $2 -exec stat -c '%s %h.%d.%i %n' {} +"
    code=$?
    [ "$code" = 0 ] || _ic_report_faults "$code" "$1"
}

# _ic_report_faults CODE PLACES: report that a listing is incomplete, for each copy whose own listing fails; if none
# fails alone, for all of them.
_ic_report_faults() {
    printf '0 .//\n'
    failed=
    for path in $2; do
        _ic_run_in_time find "$path" >/dev/null 2>&1 || failed="$failed $path"
    done
    faults=
    for path in ${failed:-$2}; do
        path=${path#.//}
        index=${path#*/copies/}
        faults="$faults${path%%/*} ${index%%/*} failed $1
"
    done
    printf %s "$faults" >>"$file_lists/faults" || exit 28
}

# _ic_write_lists: write the lists of files, and the report. It fails if they are incomplete.
_ic_write_lists() {
    : >"$file_lists/faults"
    {
        _ic_each _ic_list_ended 3>"$file_lists/plans" && _ic_list_files 3>>"$file_lists/plans" &&
            echo whole >"$file_lists/walked"
    } | awk -v gnu="$gnu" -v max_bytes="$max_bytes" -v max_files="$max_files" "$keep" || return
    [ -s "$file_lists/walked" ] && _ic_is_complete
}

# _ic_is_complete: succeed if the report has its last line. The awk of busybox does not notice a full disk.
_ic_is_complete() {
    [ "$(tail -n 1 "$file_lists/report")" = whole ]
}

_ic_print_plans() {
    cat "$file_lists/plans"
}

_ic_print_report() {
    cat "$file_lists/report" "$file_lists/faults"
}

# _ic_send_archives: send one archive for each list if tar reads lists. The tar of busybox may not, so it gets some
# hundreds of names at a time, for an archive each.
_ic_send_archives() {
    number=0
    for list in "$file_lists"/list.*; do
        [ -e "$list" ] || continue
        if [ -n "$gnu" ]; then
            _ic_frame archive.0 _ic_run_in_time tar --hard-dereference -cf - -T "$list"
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

# shellcheck disable=SC2086 # $format is an option or nothing
_ic_send_piece() {
    _ic_frame "archive.$number" _ic_run_in_time tar $format -cf - -- "$@"
    number=$((number + 1))
}

# _ic_send: send the plans and a report of the files that will come, and then the files.
_ic_send() {
    _ic_find_scratch # for a status query before this may have found it already
    file_lists=$scratch/.parcel.$mark IC_FILE_LISTS=$scratch/.parcel.$mark
    export IC_FILE_LISTS
    mkdir "$file_lists" || return
    trap '
        rm -rf "$file_lists" "$scratch/.ids.$mark" "$scratch/.open.$mark"
        [ "$scratch" = "$root" ] || rm -rf "$scratch"
    ' EXIT
    LC_ALL=C
    export LC_ALL # the messages of tar are parsed
    gnu='' format=''
    case $(tar --version 2>/dev/null) in
    *"GNU tar"*) gnu=1 ;;
    *bsdtar*) format=--format=gnutar ;; # in this format it writes no sparse files
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
