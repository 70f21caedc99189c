unset -f command cd mkdir sh tar umask 2>/dev/null
umask 077
cd "$1" && mkdir "$2" && cd "./$2" || exit
(unset TAR_OPTIONS POSIXLY_CORRECT; exec tar -xof -) || exit
[ -f submit.sh ] && exec sh ./submit.sh "$3" </dev/null
