# Defines _ic_each for counts: it iterates over every copy of every submission in the root. shellcheck shell=sh
open_only=yes
_ic_each() {
    for _ic_place in ./*/copies; do
        [ -d "$_ic_place" ] || continue
        _ic_place=${_ic_place#./}
        _ic_call_with_copies "${_ic_place%/copies}" "$1"
    done
}
