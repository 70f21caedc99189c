#!/bin/bash
# on.sh HOST USER COMMAND...: on a pretend host, as that user, at home and with its environment.
. "$(dirname "$0")/common.sh"
host=$1 user=$2
shift 2
# shellcheck disable=SC2016 # for the shell that is started
on "$host" setpriv --reuid="$user" --regid="$user" --init-groups --reset-env sh -c 'cd && exec "$@"' sh "$@"
