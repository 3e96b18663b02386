#!/bin/sh
# doc/CONFORMANCE.md has a row for each id of the catalogue, each row a known state, each row that
# claims to be held a test, and each test that it names is there. Usage: conformance.sh [SRCDIR]
set -eu

cd "${1:-${srcdir:-.}}"
doc=doc/CONFORMANCE.md
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT

awk -F ' *[|] *' '
function expect(letter, last, i) {
    for (i = 1; i <= last; i++)
        if (!(sprintf("%s-%02d", letter, i) in seen))
            printf "%s: %s-%02d has no row\n", FILENAME, letter, i
}
$2 ~ /^[CTWS]-[0-9]+$/ {
    if ($2 in seen)
        printf "%s:%d: %s has a row already, in line %d\n", FILENAME, FNR, $2, seen[$2]
    seen[$2] = FNR
    if ($4 !~ /^(held|partly|open|chosen|n\/a)$/)
        printf "%s:%d: %s: \"%s\" is no state\n", FILENAME, FNR, $2, $4
    if ($4 ~ /^(held|partly)$/ && $5 !~ /`[^`]+::[^`]+`/)
        printf "%s:%d: %s: is %s, but by no test\n", FILENAME, FNR, $2, $4
    if ($5 == "")
        printf "%s:%d: %s: neither a test nor a reason\n", FILENAME, FNR, $2
}
END { expect("C", 24); expect("T", 33); expect("W", 23); expect("S", 76) }' "$doc" >"$tmp"

# A test is `def NAME(` in Python and `static void NAME(` in C.
grep -oE '`[^` ]+::[^` ]+`' "$doc" | tr -d '`' | sort -u | while IFS= read -r test; do
    file=tests/${test%%::*}
    name=${test##*::}
    [ -f "$file" ] && grep -qE "^(def|static void) $name\(" "$file" ||
        echo "$doc: names $test, which is not there"
done >>"$tmp"

if [ -s "$tmp" ]; then
    cat "$tmp"
    exit 1
fi
echo "conformance: every id has its row, every test that is named is there"
