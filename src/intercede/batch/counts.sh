# Every submission and every copy of ours. shellcheck shell=sh
open_only=yes
each() {
    for ic_place in ./*/copies; do
        [ -d "$ic_place" ] || continue
        ic_place=${ic_place#./}
        copies "${ic_place%/copies}" "$1"
    done
}
