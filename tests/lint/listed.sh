#!/bin/sh
# Each source and each test is named in Makefile.am; one that is not would never be built, or never
# be run, and nobody would notice. The folders that pytest reads are listed whole. The table of
# doc/ARCHITECTURE.md has each module, and no other.
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

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
printf '%s\n' src/*/*.[ch] | sed 's|^src/||; s|[.][ch]$||' | sort -u >"$tmp/there"
# The first cell of a row is FOLDER/NAME, NAME, ...
awk -F ' *[|] *' '
/^## / { is_table = $0 == "## Modules" }
is_table && $2 ~ /^[a-z]+\// {
    folder = substr($2, 1, index($2, "/"))
    for (n = split(substr($2, length(folder) + 1), name, /, */); n > 0; n--)
        print folder name[n]
}' doc/ARCHITECTURE.md | sort >"$tmp/told"
diff "$tmp/there" "$tmp/told" >"$tmp/diff" || {
    echo "doc/ARCHITECTURE.md: its modules are not those of src/ (< has no row, > is not there, or twice):"
    grep '^[<>]' "$tmp/diff"
    bad=1
}

[ $bad = 0 ] || exit 1
echo "listed: every source and test is named in Makefile.am, every module in doc/ARCHITECTURE.md"
