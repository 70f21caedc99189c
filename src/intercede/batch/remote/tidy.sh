# Unset variables that change the answers of tools. Only for scripts that start no payload, because payloads need them.
# shellcheck shell=sh
unset CDPATH TAR_OPTIONS POSIXLY_CORRECT GREP_OPTIONS TIME_STYLE QUOTING_STYLE
LC_ALL=C
export LC_ALL
