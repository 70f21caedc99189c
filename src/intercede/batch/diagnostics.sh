# shellcheck shell=sh
# show STAMP INDEX...: the end of what each copy wrote, between marks of its own.
show() {
    stamp=$1
    shift
    for index; do
        [ ! -d "./$stamp/copies/$index/work" ] || frame "$stamp.$index" written "./$stamp/copies/$index/work"
    done
}

written() {
    cd "$1" && . ../../../payload || exit
    for file in "$ic_stdout" "$ic_stderr"; do
        [ ! -f "$file" ] || [ ! -s "$file" ] || [ -L "$file" ] || tail -c "$most" "$file"
    done
}
