#!/bin/bash
# on.sh HOST USER COMMAND...: runs a command on a pretend host, in the home and the environment of the user.
. "$(dirname "$0")/common.sh"
host=$1 user=$2
shift 2
# shellcheck disable=SC2016 # for the shell that is started
on "$host" setpriv --reuid="$user" --regid="$user" --init-groups --reset-env sh -c 'cd && exec "$@"' sh "$@"
