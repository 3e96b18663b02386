#!/bin/sh
# Each header compiles on its own, and its guard is DTLSGATE_<FOLDER>_<FILE>_H.
# $CC and $CPPFLAGS say how, as `make check` sets them. Usage: headers.sh [TOP]
set -eu

cd "${1:-${srcdir:-.}}/src"
headers=$(find . -name '*.h' | sed 's|^\./||' | sort)
bad=0

for header in $headers; do
    # shellcheck disable=SC2086 # both are lists of words
    ${CC:-cc} ${CPPFLAGS:-} -std=c11 -D_GNU_SOURCE -I. -Wall -Wextra -Werror -fsyntax-only \
        -include "$header" -x c /dev/null || {
        echo "src/$header: does not compile on its own"
        bad=1
    }
    guard=DTLSGATE_$(echo "$header" | sed 's|/|_|g; s|\.h$|_H|' | tr '[:lower:]-' '[:upper:]_')
    got=$(sed -n 's/^#ifndef //p; s/^#define //p' "$header" | head -n 2 | tr '\n' ' ')
    [ "$got" = "$guard $guard " ] || {
        echo "src/$header: the include guard must be $guard"
        bad=1
    }
done

[ $bad = 0 ] || exit 1
echo "headers: $(echo "$headers" | wc -l) compile on their own and are guarded"
