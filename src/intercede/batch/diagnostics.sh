# shellcheck shell=sh
# _ic_show_output SUBMISSION_ID INDEX...: the end of what each copy wrote, between marks of its own.
_ic_show_output() {
    submission_id=$1
    shift
    for index; do
        [ ! -d "./$submission_id/copies/$index/work" ] || _ic_frame "$submission_id.$index" _ic_print_output "./$submission_id/copies/$index/work"
    done
}

_ic_print_output() {
    cd "$1" && . ../../../payload || exit
    for file in "$_ic_stdout" "$_ic_stderr"; do
        [ ! -f "$file" ] || [ ! -s "$file" ] || [ -L "$file" ] || tail -c "$most" "$file"
    done
}
