# The functions that a scheduler's fragment may call, the same in every verb. docs/reference/types.md describes them.
# DIRECTORY is the directory of the submission: . for the fragment that submits, ./SUBMISSION_ID for the others. All
# other names that begin with ic_, _ic_ or IC_ are private. The variable ic_api holds this text, for programs of another
# sh.
# shellcheck shell=sh
unset -f cd command echo env mv read rm 2>/dev/null
unalias -a 2>/dev/null

# ic_tool COMMAND...: run one of the scheduler's own commands in the C locale, and without the variables that
# tool_environment of the scheduler names.
ic_tool() {
    (_ic_clean_environment && "$@")
}

# ic_read_record DIRECTORY INDEX: succeed if the wrapper recorded the end of the copy. Then ic_end is code, signal, or
# caught if the payload exited after a signal, and ic_number is the exit code or the number of the signal. Otherwise
# ic_end is begun, new, or gone if the copy has no directory. A line without its newline is being written, and does not
# count yet.
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

# ic_forget_secrets DIRECTORY INDEX: remove the secrets of a copy whose wrapper cannot do so any more.
ic_forget_secrets() {
    [ ! -e "$1/copies/$2/secrets" ] || (cd "$1/copies/$2/work" && . ../secrets)
}

# ic_report_ids: for the fragment that submits: read a line "INDEX ID" for each copy from stdin, in order, and record
# the native ids, so that no later script has to. It fails, and records nothing, if there are fewer or more lines.
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

_ic_is_clean='' _ic_tool_variables=''

# _ic_clean_environment: unset the variables that would change the answers of tools. Fragments that start payloads pass
# on their environment, so IC_LOCALE keeps the original locale for the wrapper.
_ic_clean_environment() {
    [ -z "$_ic_is_clean" ] || return 0
    _ic_is_clean=yes
    _ic_find_tool_variables
    eval "unset CDPATH POSIXLY_CORRECT $_ic_tool_variables"
    IC_LOCALE=${LC_ALL-}
    LC_ALL=C
    export IC_LOCALE LC_ALL
}

# _ic_find_tool_variables: set _ic_tool_variables to the variables in the environment that tool_environment names. It
# runs env once.
_ic_find_tool_variables() {
    [ -z "$_ic_tool_variables" ] || return 0
    _ic_tool_variables=_ic_none
    [ -z "$_ic_patterns" ] || _ic_tool_variables=$(env | _ic_select_tool_variables)
}

_ic_select_tool_variables() {
    LC_ALL=C # in other locales, a range of letters may have more than A to Z
    while IFS='=' read -r _ic_name _; do
        case $_ic_name in
        '' | *[!A-Za-z0-9_]*) ;;
        *) ! _ic_is_tool_variable "$_ic_name" || _ic_tool_variables="$_ic_tool_variables $_ic_name" ;;
        esac
    done
    echo "$_ic_tool_variables"
}
