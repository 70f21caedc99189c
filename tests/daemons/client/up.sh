#!/bin/bash
# An environment with this project's wheel, which any user can run: the kit does not run as root. It is made again only if
# the sources have changed. Then: $DAEMONS_ROOT/client/venv/bin/intercede
#   PYTHON   the Python, if other users may run it; else the system's
. "$(dirname "$0")/../common.sh"
bounded 600 "$@"
PROJECT=$(cd "$RECIPES/../.." && pwd)
CLIENT=$ROOT/client
VENV=$CLIENT/venv

sources() { # one word for all that goes into the environment
    cd "$PROJECT"
    find src pyproject.toml constraints.txt README.md LICENSE -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum
}

interpreter() { # a Python that nobody can run, who may not look into /root
    local python
    python=$(command -v "${PYTHON:-python3}") || python=/usr/bin/python3
    python=$("$python" -c 'import sys; print(sys._base_executable)')
    as_nobody "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        install_once / python3 python3-venv
        python=/usr/bin/python3
    }
    echo "$python"
}

as_nobody() { (cd / && setpriv --reuid=nobody --regid=nogroup --clear-groups --reset-env "$@"); }

mkdir -p "$CLIENT"
install -d -o nobody -g nogroup "$CLIENT/home"
printf '[pytest]\n' >"$CLIENT/pytest.ini" # a root of its own, not this project's
wanted="$(sources) $(interpreter)"
if [ "$(cat "$VENV/sources" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$VENV"
    "${wanted##* }" -m venv "$VENV"
    quietly "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
        --constraint "$PROJECT/constraints.txt" "intercede[all] @ file://$PROJECT"
    echo "$wanted" >"$VENV/sources"
fi
as_nobody "$VENV/bin/python" -V
