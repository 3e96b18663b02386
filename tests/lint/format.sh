#!/bin/sh
# clang-format has the last word on layout. The version is fixed, as each one has its own taste.
# Usage: format.sh [TOP]
set -eu

cd "${1:-${srcdir:-.}}"
tool=clang-format-14
command -v $tool >/dev/null || {
    echo "format: skipped, for $tool is not installed (Debian: $tool)"
    exit 77
}

files=$(find src tests bench -name '*.[ch]' 2>/dev/null | sort)
# shellcheck disable=SC2086 # file names here have no spaces
$tool --dry-run -Werror $files || {
    echo "format: run $tool -i on the files above"
    exit 1
}
echo "format: $(echo "$files" | wc -l) files are as $tool wants them"
