#!/bin/sh
# Prints a Python between two minor versions that can make virtual environments, or says what is missing.
#
#   tools/find-python.sh [OLDEST [NEWEST]]       (3.11 and 3.13 unless given)
#
# $PYTHON, where set, is the only one tried. Otherwise `python3` comes first, because it is the one
# the user chose; then the newest one that is on the PATH under its own name.
set -u
oldest=${1:-3.11}
newest=${2:-3.13}
seen=''

for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    seen="$seen $candidate is $version;"
    [ "${version%%.*}" = 3 ] || continue
    minor=${version#*.}
    [ "$minor" -ge "${oldest#*.}" ] && [ "$minor" -le "${newest#*.}" ] || continue
    if ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
        seen="$seen it lacks the modules venv and ensurepip (Debian, Ubuntu: apt install python$version-venv);"
        continue
    fi
    command -v "$candidate"
    exit 0
done

{
    echo "error: this needs Python $oldest to $newest, with venv."
    echo "  found:${seen:- no Python at all}" | sed 's/;$/./'
    echo "  Install one, or name it: make PYTHON=/path/to/python$newest ..."
} >&2
exit 1
