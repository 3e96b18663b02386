#!/bin/sh
# Sizes that a reader can hold: a file has at most 600 lines, a function 80, a line 100 columns.
# A function is what stands between a `{` and a `}` in the first column, which the format
# reserves for them (a table or a type opens its brace at the end of a line). Usage: limits.sh [TOP]
set -eu

max_file=600
max_function=80
max_column=100

cd "${1:-${srcdir:-.}}"
files=$(find src tests bench -name '*.[ch]' 2>/dev/null | sort)
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT

# shellcheck disable=SC2086 # file names here have no spaces
awk -v max_file=$max_file -v max_function=$max_function '
FNR == 1 { opened = 0 }
FNR == max_file + 1 { printf "%s: has more than %d lines; split it\n", FILENAME, max_file }
/^[A-Za-z].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
/^[{]$/ { opened = FNR }
/^[}]$/ && opened {
    lines = FNR - opened + 1
    if (lines > max_function)
        printf "%s:%d: %s() has %d lines, at most %d are allowed\n", FILENAME, opened, name, lines,
            max_function
    opened = 0
}' $files >"$tmp"

# Columns are characters, not bytes.
# shellcheck disable=SC2086
LC_ALL=C.UTF-8 grep -nE ".{$((max_column + 1))}" $files /dev/null |
    LC_ALL=C.UTF-8 sed -E "s/^([^:]*:[0-9]+):.*/\1: is longer than $max_column columns/" >>"$tmp" || :

if [ -s "$tmp" ]; then
    cat "$tmp"
    exit 1
fi
echo "limits: $(echo "$files" | wc -l) files are within $max_file lines," \
    "$max_function per function, $max_column columns"
