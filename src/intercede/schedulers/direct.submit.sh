# Starts the runner. Input variables: submission_id, copies, slots (empty: the number of cores), cpus, wall, grace,
# runner (its text).
# shellcheck shell=sh
if ! has_proc; then
    printf '%s\n' "there is no /proc of this pid namespace, by which processes are known: have it mounted" >&2
    printf 'refused\n'
    exit 1
fi
mkdir direct || exit
printf '%s\n' "$ic_api" "$runner" >direct/runner
[ -n "$slots" ] || slots=$(nproc) || slots=1
slots=$((slots / cpus))
[ "$slots" -gt 0 ] || slots=1
[ "$slots" -le "$copies" ] || slots=$copies

# The first setsid becomes a leader, so the second one has to fork. This detaches the runner without "&", which would
# make every payload ignore INT. Payloads must not ignore the signals that this script ignores.
answer=$(
    trap - HUP INT TERM PIPE
    setsid setsid sh ./direct/runner "$submission_id" "$copies" "$slots" "$wall" "$grace" </dev/null 2>direct/log
)
if [ "$answer" != started ]; then
    read -r why <direct/log
    printf '%s\n' "${why:-the runner did not start}" >&2
    exit 1
fi
index=0
while [ "$index" -lt "$copies" ]; do
    echo "$index $submission_id.$index"
    index=$((index + 1))
done | ic_report_ids
printf 'started\n'
