# shellcheck shell=sh
# fence STAMP: a submission of ours that was cancelled. Either nothing of it ever starts from now on, or its native
# calls have begun: then wait for their end, while whoever makes them is there.
fence() {
    [ -d "./$1" ] || mkdir "./$1" || return
    if mkdir "./$1/submitting"; then
        rm -rf "./$1/copies" "./$1/inputs" "./$1/bin"
        return
    fi
    read -r queuer <"./$1/submitting/pid" || queuer=
    while [ ! -e "./$1/submitted" ] && [ -n "$queuer" ] && kill -0 "$queuer"; do
        sleep 0.05 || sleep 1
    done
} 2>/dev/null

# copies STAMP COMMAND: call COMMAND STAMP INDEX... with every copy that is there.
copies() {
    set -- "$2" "$1" "./$1/copies/"*
    command=$1 stamp=$2
    shift 2
    [ -e "$1" ] || return 0
    for path; do
        shift
        set -- "$@" "${path##*/}"
    done
    "$command" "$stamp" "$@"
}

# tagged TAG COMMAND: call it for every submission with that tag.
tagged() {
    for tag_file in ./*/tag; do
        its_tag=
        [ ! -e "$tag_file" ] || read -r its_tag <"$tag_file"
        [ "$its_tag" = "$1" ] || continue
        its_stamp=${tag_file#./}
        copies "${its_stamp%/tag}" "$2"
    done
}

# submission STAMP: what is written of it, for a scheduler to understand.
submission() {
    [ -e "./$1/batch" ] || return 0
    frame "$1.batch" cat "./$1/batch"
    [ ! -e "./$1/submitted" ] || frame "$1.answer" answer "$1"
}

answer() {
    cat "./$1/ids"
    cat "./$1/ids.err" >&2
    read -r code <"./$1/submitted"
    return "$code"
}
