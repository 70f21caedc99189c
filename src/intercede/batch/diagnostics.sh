# shellcheck shell=sh
# _ic_show_output SUBMISSION_ID INDEX...: print the end of each copy's output, in a frame for each copy.
_ic_show_output() {
    submission_id=$1
    shift
    for index; do
        work=./$submission_id/copies/$index/work
        [ ! -d "$work" ] || _ic_frame "$submission_id.$index" _ic_print_output "$work"
    done
}

_ic_print_output() {
    cd "$1" && . ../../../payload || exit
    for file in "$_ic_stdout" "$_ic_stderr"; do
        [ ! -f "$file" ] || [ ! -s "$file" ] || [ -L "$file" ] || tail -c "$most" "$file"
    done
}
