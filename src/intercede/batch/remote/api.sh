# What a scheduler's fragment may call of intercede, the same in every verb. docs/reference/types.md describes it. SUBMISSION is
# the submission's directory: . for the fragment that submits, ./SUBMISSION_ID for the others. All other names that begin with ic_,
# _ic_ or IC_ are private. The text of this is in ic_api, for what another sh runs. shellcheck shell=sh
unset -f cd command echo env mv read rm 2>/dev/null
unalias -a 2>/dev/null

# ic_tool COMMAND...: run one of the scheduler's own tools in the C locale, and without the variables that the scheduler's
# tool_environment names.
ic_tool() {
    (_ic_be_plain && "$@")
}

# ic_read_record SUBMISSION INDEX: succeed if the copy ended, as far as its wrapper recorded it. Sets ic_end: code, signal; or caught,
# if it exited after a signal had come; and ic_number, the code or the signal. Else ic_end is begun, new, or gone if nothing
# of the copy is there. What lacks its line's end is being written, and does not count yet.
ic_read_record() {
    if { read -r ic_end ic_number _ <"$1/copies/$2/exit"; } 2>/dev/null; then
        case $ic_end-$ic_number in
        *- | *-*[!0-9]*) ;;
        code-* | caught-* | signal-*) return 0 ;;
        esac
    fi
    ic_end=gone ic_number=
    [ ! -d "$1/copies/$2" ] || ic_end=new
    [ ! -e "$1/copies/$2/exit" ] || ic_end=begun
    return 1
}

# ic_forget_secrets SUBMISSION INDEX: remove the secrets of a copy whose wrapper cannot do so any more.
ic_forget_secrets() {
    [ ! -e "$1/copies/$2/secrets" ] || (cd "$1/copies/$2/work" && . ../secrets)
}

# ic_report_ids: in the fragment that submits, read a line "INDEX ID" for each copy, in order, and write them down: then no
# later command has to bring them. Fails, and changes nothing, if there are fewer or more of them.
ic_report_ids() {
    _ic_next=0
    while read -r _ic_index _ic_id && [ "$_ic_index" = "$_ic_next" ] && [ -n "$_ic_id" ]; do
        echo "$_ic_index $_ic_id" || break
        _ic_next=$((_ic_next + 1))
    done >natives.new
    [ "$_ic_next" = "${_ic_copies:-none}" ] && [ -z "$_ic_index" ] && mv natives.new natives && return
    rm -f natives.new
    return 1
}

_ic_is_plain='' _ic_strange=''

# _ic_be_plain: take away what would change the answers of any tool, and of the scheduler's. What starts payloads hands on
# what it has, so the wrapper is given the locale that there was.
_ic_be_plain() {
    [ -z "$_ic_is_plain" ] || return 0
    _ic_is_plain=yes
    _ic_find_strange
    eval "unset CDPATH POSIXLY_CORRECT $_ic_strange"
    IC_LOCALE=${LC_ALL-}
    LC_ALL=C
    export IC_LOCALE LC_ALL
}

# _ic_find_strange: set _ic_strange, the names of the scheduler's variables that are there. One env, once for a script.
_ic_find_strange() {
    [ -z "$_ic_strange" ] || return 0
    _ic_strange=_ic_none
    [ -z "$_ic_patterns" ] || _ic_strange=$(env | _ic_sort_out_strange)
}

_ic_sort_out_strange() {
    LC_ALL=C # in which a letter is one of A to Z
    while IFS='=' read -r _ic_name _; do
        case $_ic_name in
        '' | *[!A-Za-z0-9_]*) ;;
        *) ! _ic_is_strange "$_ic_name" || _ic_strange="$_ic_strange $_ic_name" ;;
        esac
    done
    echo "$_ic_strange"
}
