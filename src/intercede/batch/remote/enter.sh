# Make the root, or check that only the user can write in it, and print the resource's id and the root's path. The
# caller sets root, which is empty for the default, and resource, the id to record if there is none. shellcheck shell=sh

# _ic_refuse_root WHY: print why the root is invalid, and exit.
_ic_refuse_root() {
    printf '%s\n' "$1"
    exit 1
}

# _ic_read_mode PATH: set mode, in the form of ls, and owner, a user id.
_ic_read_mode() {
    listed=$(ls -lnd "$1") || _ic_refuse_root "$1 cannot be listed"
    read -r mode _ owner _ <<EOF
$listed
EOF
}

# _ic_forks_subshells: succeed if a subshell is a process of its own. In ksh93 it is not, so the process id that a copy
# records would be that of its runner.
_ic_forks_subshells() {
    { read -r its_process _ </proc/self/stat; } 2>/dev/null || return 0
    # shellcheck disable=SC2030,SC2031 # this tests the subshell itself
    (read -r our_process _ </proc/self/stat && [ "$our_process" != "$its_process" ])
}

# _ic_can_link FILE: succeed if the file system has hard links, or if it is full, so that this cannot be tested.
_ic_can_link() {
    ln "$1" ".linked.$mark" 2>/dev/null || ! true 2>/dev/null >".linked.$mark"
}

_ic_clear_marks() {
    rm -f ".resource.$mark" ".linked.$mark"
}

# _ic_clear_and_refuse WHY: remove the temporary files, and refuse the root.
_ic_clear_and_refuse() {
    _ic_clear_marks
    _ic_refuse_root "$1"
}

# _ic_is_replaceable: succeed if $owner is another user, and not the superuser. In a user namespace, all users that are
# not mapped appear as one user, which includes the machine's superuser: that user is taken for the superuser.
_ic_is_replaceable() {
    [ "$owner" != 0 ] && [ "$owner" != "$(id -u)" ] || return
    { read -r first outside many </proc/self/uid_map; } 2>/dev/null || return 0
    [ "$first $outside $many" = "0 0 4294967295" ] || [ "$owner" != "$(cat /proc/sys/kernel/overflowuid)" ]
}

# _ic_check_parents: refuse the root if another user can replace it or a directory above it. One ls lists all of them;
# sorted by name, the nearest comes first.
_ic_check_parents() {
    real=$(pwd -P) relative=..
    above=$real
    set --
    while [ "${above:-/}" != / ]; do
        above=${above%/*}
        set -- "$@" "$relative"
        relative=$relative/..
    done
    listed=$([ $# = 0 ] || ls -lnd "$@") || _ic_refuse_root "the directories above $root cannot be listed"
    above=$real
    while read -r mode _ owner _ && [ "$above" != / ]; do
        if [ "$above" = "$real" ]; then
            case $mode in ????????w*) _ic_refuse_root "$root is in a directory that every user may write" ;; esac
        fi
        above=${above%/*}
        above=${above:-/}
        ! _ic_is_replaceable || _ic_refuse_root "$root is below $above, which user $owner can replace"
        case $mode in
        ?????????[tT]*) ;; # sticky: only the owner of a file can replace it
        ????????w*) _ic_refuse_root "$root is below $above, which every user may write, so it can be replaced" ;;
        esac
    done <<EOF
$listed
EOF
}

_ic_enter_root() {
    _ic_forks_subshells ||
        _ic_refuse_root "sh is ksh93 or alike, whose subshells are no processes: put another sh first in PATH"
    case ${root:-.} in
    /*) ;;
    *)
        case ${HOME-} in
        /*) ;;
        *) _ic_refuse_root "HOME is '${HOME-}', which is not an absolute path: set root to an absolute path" ;;
        esac
        root=$HOME/${root:-.intercede}
        ;;
    esac
    while [ "$root" != / ] && [ "$root" != "${root%/}" ]; do root=${root%/}; done
    [ -e "$root" ] || mkdir -p "$root" || _ic_refuse_root "$root cannot be made"
    [ ! -L "$root" ] || _ic_refuse_root "$root is a symbolic link, and must be a real directory"
    [ -d "$root" ] || _ic_refuse_root "$root is not a directory"
    _ic_read_mode "$root"
    [ "$owner" = "$(id -u)" ] || _ic_refuse_root "$root belongs to user $owner, and must belong to the user who logs in"
    case $mode in
    ?????w* | ????????w*) _ic_refuse_root "$root has mode $mode, so other users may write in it: run chmod 700 on it" ;;
    esac
    cd "$root" || _ic_refuse_root "$root cannot be entered"
    _ic_check_parents
    # -p succeeds if another client makes the directory at the same time.
    [ -d .trash ] || mkdir -p .trash || _ic_refuse_root "$root cannot be written"
    id_file="resource-id"
    if [ ! -e resource-id ]; then
        id_file=.resource.$mark
        printf '%s\n' "$resource" 2>/dev/null >"$id_file" || _ic_clear_and_refuse "the disk of $root is full"
    fi
    _ic_can_link "$id_file" ||
        _ic_clear_and_refuse "$root is on a file system without hard links, which are needed: set root on another one"
    [ -e resource-id ] || ln "$id_file" resource-id 2>/dev/null # the first client wins
    _ic_clear_marks
    read -r resource <resource-id || _ic_refuse_root "$root/resource-id cannot be read"
    printf '%s\n' "$resource" "$real"
}
_ic_frame enter _ic_enter_root
