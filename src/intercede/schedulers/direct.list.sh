# Prints the submission id and the number of copies if the submission has a runner. Input variable: submission_id.
# shellcheck shell=sh
[ ! -e "./$submission_id/direct/host" ] || while read -r _ _ _ _ copies _; do
    printf '%s %s\n' "$submission_id" "$copies"
done <"./$submission_id/direct/host"
