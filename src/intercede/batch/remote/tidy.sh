# For scripts that start no payload: nothing of this may reach one. shellcheck shell=sh
unset CDPATH TAR_OPTIONS POSIXLY_CORRECT GREP_OPTIONS TIME_STYLE QUOTING_STYLE
LC_ALL=C
export LC_ALL
