#!/bin/sh
# Each log line that doc/troubleshooting.md quotes, in the second column of its tables, is one that
# the sources write: subject, names, values and texts between the "…" stand there as strings.
# Usage: loglines.sh [SRCDIR]
set -eu

cd "${1:-${srcdir:-.}}"
doc=doc/troubleshooting.md
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# All strings, those in pieces joined; two of them never touch.
cat src/*/*.c src/*/*.h | tr '\n' ' ' | sed 's/" *"//g; s/\\"/"/g' >"$tmp/strings"

awk -F ' *[|] *' '/^[|]/ && NF == 5 && $3 !~ /^(the log says|---)$/ { print FNR "|" $3 }' "$doc" |
    while IFS='|' read -r line cell; do
        printf '%s\n' "$cell" | grep -oE '`[^`]+`' | tr -d '`' | sed 's/ *… */\n/g' |
            sed -E 's/^; //; s/^: ?//; s/[:;]? *$//' | grep . | sed "s/^/$line /"
    done >"$tmp/pieces" || true

has() { grep -qF -- "$1" "$tmp/strings"; }
while read -r line piece; do
    case $piece in
    -v | 'nstat '*) continue ;; # of the shell
    client.* | backend.*) has "\"${piece#*.}\"" && continue ;;
    *=*)
        value=${piece#*=}
        value=${value#\"}
        has "\"${piece%%=*}\"" && has "${value%\"}" && continue
        ;;
    *) has "$piece" && continue ;;
    esac
    echo "$doc:$line: no source writes \"$piece\""
done <"$tmp/pieces" >"$tmp/wrong"

if [ -s "$tmp/wrong" ]; then
    cat "$tmp/wrong"
    exit 1
fi
[ "$(wc -l <"$tmp/pieces")" -gt 50 ] || { echo "$doc: its tables cannot be read"; exit 1; }
echo "loglines: $(wc -l <"$tmp/pieces") pieces of log lines are what the sources write"
