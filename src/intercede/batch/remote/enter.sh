# Make the root, or see that it is ours alone, and learn the resource's id.
# Given: root, empty for the default; resource, the id to write where there is none. shellcheck shell=sh

# _ic_refuse_root WHAT: say why this root will not do.
_ic_refuse_root() {
    printf '%s\n' "$1"
    exit 1
}

# _ic_read_mode PATH: sets mode, as ls writes it, and owner, a number.
_ic_read_mode() {
    listed=$(ls -lnd "$1") || _ic_refuse_root "$1 cannot be looked at"
    read -r mode _ owner _ <<EOF
$listed
EOF
}

# _ic_forks_subshells: whether a subshell is a process of its own. In ksh93 it is not, so the number that a copy notes is its runner's.
_ic_forks_subshells() {
    { read -r its_process _ </proc/self/stat; } 2>/dev/null || return 0
    # shellcheck disable=SC2030,SC2031 # that is asked
    (read -r our_process _ </proc/self/stat && [ "$our_process" != "$its_process" ])
}

# _ic_makes_links FILE: whether hard links work here. If there is no room for any new file, we cannot tell, and go on.
_ic_makes_links() {
    ln "$1" ".linked.$mark" 2>/dev/null || ! true 2>/dev/null >".linked.$mark"
}

_ic_clear_marks() {
    rm -f ".resource.$mark" ".linked.$mark"
}

# _ic_clear_and_refuse WHY: refuse, and leave nothing behind.
_ic_clear_and_refuse() {
    _ic_clear_marks
    _ic_refuse_root "$1"
}

# _ic_is_replaceable: whether somebody else owns what was looked at. In a user namespace all users who are not mapped appear as one
# user, and the machine's root is among them: there that user is taken for root.
_ic_is_replaceable() {
    [ "$owner" != 0 ] && [ "$owner" != "$(id -u)" ] || return
    { read -r first outside many </proc/self/uid_map; } 2>/dev/null || return 0
    [ "$first $outside $many" = "0 0 4294967295" ] || [ "$owner" != "$(cat /proc/sys/kernel/overflowuid)" ]
}

# _ic_look_above: refuse a root that somebody else can replace, or what it lies in. One ls for all: sorted by name, it tells of
# the nearest first.
_ic_look_above() {
    real=$(pwd -P) way=..
    above=$real
    set --
    while [ "${above:-/}" != / ]; do
        above=${above%/*}
        set -- "$@" "$way"
        way=$way/..
    done
    listed=$([ $# = 0 ] || ls -lnd "$@") || _ic_refuse_root "the directories above $root cannot be looked at"
    above=$real
    while read -r mode _ owner _ && [ "$above" != / ]; do
        [ "$above" != "$real" ] || case $mode in ????????w*) _ic_refuse_root "$root lies in a directory that everybody may write" ;; esac
        above=${above%/*}
        above=${above:-/}
        ! _ic_is_replaceable || _ic_refuse_root "$root lies below $above, which user $owner can replace"
        case $mode in
        ?????????[tT]*) ;; # sticky: nobody replaces what is not his
        ????????w*) _ic_refuse_root "$root lies below $above, which everybody may write, so it can be replaced" ;;
        esac
    done <<EOF
$listed
EOF
}

_ic_enter_root() {
    _ic_forks_subshells || _ic_refuse_root "sh is ksh93 there, or one like it, in which a subshell is no process: have PATH lead to another sh first"
    case ${root:-.} in
    /*) ;;
    *)
        case ${HOME-} in /*) ;; *) _ic_refuse_root "HOME is '${HOME-}', no absolute path: set root to an absolute path" ;; esac
        root=$HOME/${root:-.intercede}
        ;;
    esac
    while [ "$root" != / ] && [ "$root" != "${root%/}" ]; do root=${root%/}; done
    [ -e "$root" ] || mkdir -p "$root" || _ic_refuse_root "$root cannot be made"
    [ ! -L "$root" ] || _ic_refuse_root "$root is a symbolic link, and must be a real directory"
    [ -d "$root" ] || _ic_refuse_root "$root is no directory"
    _ic_read_mode "$root"
    [ "$owner" = "$(id -u)" ] || _ic_refuse_root "$root belongs to user $owner, and must be ours"
    case $mode in ?????w* | ????????w*) _ic_refuse_root "$root is $mode: others may write it, chmod 700 makes it ours alone" ;; esac
    cd "$root" || _ic_refuse_root "$root cannot be entered"
    _ic_look_above
    [ -d .trash ] || mkdir -p .trash || _ic_refuse_root "$root cannot be written" # -p: two may come in at once
    named="resource-id"
    if [ ! -e resource-id ]; then
        named=.resource.$mark
        printf '%s\n' "$resource" 2>/dev/null >"$named" || _ic_clear_and_refuse "$root has no room"
    fi
    _ic_makes_links "$named" || _ic_clear_and_refuse "$root is on a file system without hard links, which decide who is first: set root to a directory on another one"
    [ -e resource-id ] || ln "$named" resource-id 2>/dev/null # the first wins
    _ic_clear_marks
    read -r resource <resource-id || _ic_refuse_root "$root/resource-id cannot be read"
    printf '%s\n' "$resource" "$real"
}
_ic_frame enter _ic_enter_root
