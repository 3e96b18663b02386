#!/bin/sh
# Each source and each test is named in Makefile.am; one that is not would never be built, or never
# be run, and nobody would notice. The folders that pytest reads are listed whole.
# Usage: listed.sh [TOP]
set -eu

cd "${1:-${srcdir:-.}}"
bad=0

for file in $(find src tests bench \( -name '*.[ch]' -o -path 'tests/lint/*.sh' \) 2>/dev/null |
    grep -v '^tests/\(system\|hostile\)/' | sort); do
    # A test program stands there without its suffix.
    grep -qE "(^|[[:space:]])${file%.c}(\.c)?([[:space:]]|\$)" Makefile.am || {
        echo "$file: is not named in Makefile.am"
        bad=1
    }
done

[ $bad = 0 ] || exit 1
echo "listed: every source and test is named in Makefile.am"
