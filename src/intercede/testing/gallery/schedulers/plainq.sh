#!/bin/sh
# plainq: a small queue that starts every job at once. A restart ends all jobs, and the numbers begin at 17 again.
# The state is in the directory $PLAINQ, or in ~/.plainq.
#
#   plainq submit --name=NAME --copies=3 [--OPTION=...] COMMAND    a line for each copy: 0 17.0
#                                                                  (runs COMMAND 0, COMMAND 1, ...)
#   plainq list [--name=NAME]                                      a line for each job: 17.0 NAME running
#   plainq list --numbered [--name=NAME]                           0 17.0 NAME
#   plainq kill 17.0
#   plainq restart
set -u
place=${PLAINQ-$HOME/.plainq}

# start_job NUMBER COPY COMMAND...: start a process that runs a job and waits for it.
start_job() {
    job=$place/$1/$2
    copy=$2
    shift 2
    mkdir "$job" || exit
    setsid sh "$0" run "$job" "$@" "$copy" </dev/null >/dev/null 2>&1 &
}

# print_state JOB: print the state of a job.
print_state() {
    if [ -s "$1/code" ] && [ -e "$1/killed" ]; then
        echo killed
    elif [ -s "$1/code" ]; then
        read -r code <"$1/code"
        echo "done" "$code"
    elif [ -s "$1/pid" ]; then
        echo running
    else
        echo waiting
    fi
}

# kill_job JOB: kill the process group of a job.
kill_job() {
    until [ -s "$1/pid" ] || [ ! -d "$1" ]; do sleep 0.05; done
    : >"$1/killed"
    until [ -s "$1/code" ] || [ ! -d "$1" ]; do
        read -r pid <"$1/pid" && kill -s KILL -- "-$pid" 2>/dev/null
        sleep 0.05
    done
}

verb=$1
shift
case $verb in
run) # JOB COMMAND...: run a job in a session of its own, and write down its exit code
    setsid sh "$0" become "$@" &
    wait "$!"
    echo "$?" >"$1/code"
    exit
    ;;
become) # JOB COMMAND...: write down the process id, and become the job
    echo "$$" >"$1/pid"
    shift
    exec "$@"
    ;;
esac

name='' copies=1 numbered=''
while :; do
    case ${1-} in
    --name=*) name=${1#*=} ;;
    --copies=*) copies=${1#*=} ;;
    --numbered) numbered=yes ;;
    --*) ;;
    *) break ;;
    esac
    shift
done
mkdir -p "$place" || exit

case $verb in
submit)
    number=17
    until mkdir "$place/$number" 2>/dev/null; do number=$((number + 1)); done
    echo "$name" >"$place/$number/name"
    copy=0
    while [ "$copy" -lt "$copies" ]; do
        start_job "$number" "$copy" "$@"
        echo "$copy $number.$copy"
        copy=$((copy + 1))
    done
    ;;
list)
    for job in "$place"/*/[0-9]*; do
        [ -d "$job" ] || continue
        copy=${job##*/}
        array=${job%/*}
        read -r called <"$array/name"
        [ -z "$name" ] || [ "$name" = "$called" ] || continue
        id=${array##*/}.$copy
        if [ -n "$numbered" ]; then echo "$copy $id $called"; else echo "$id $called $(print_state "$job")"; fi
    done
    ;;
kill)
    job=$place/${1%.*}/${1#*.}
    [ -d "$job" ] || { echo "plainq: there is no job $1" >&2 && exit 1; }
    [ -s "$job/code" ] || kill_job "$job"
    ;;
restart)
    for job in "$place"/*/[0-9]*; do kill_job "$job"; done
    rm -rf "${place:?}"/*
    ;;
esac
