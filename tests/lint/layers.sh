#!/bin/sh
# The folders of src are layers: base < dtls < conf < proxy < daemon, and ctl apart from all but
# base. An include that points upward, a circle of modules, or a library outside its place fails.
# A module is a .h and its .c together. Usage: layers.sh [TOP]
set -eu

cd "${1:-${srcdir:-.}}/src"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

find . -name '*.[ch]' | sed 's|^\./||' | sort >"$tmp/files"

# One line per include: FILE LINE INCLUDED, where INCLUDED keeps its quotes or brackets.
xargs awk '/^[ \t]*#[ \t]*include/ {
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "")
    sub(/[ \t].*$/, "")
    print FILENAME, FNR, $0
}' <"$tmp/files" >"$tmp/includes"

# Ours: upward pairs are told, all others become pairs of modules for tsort.
awk -v pairs="$tmp/pairs" '
BEGIN {
    layers = split("base dtls conf proxy daemon", name, " ")
    for (i = 1; i <= layers; i++)
        height[name[i]] = i
}
function complain(text) {
    printf "src/%s:%d: includes %s: %s\n", $1, $2, $3, text
}
$3 ~ /^"/ {
    target = substr($3, 2, length($3) - 2)
    from = $1
    sub(/\/.*/, "", from)
    to = target
    if (!sub(/\/.*/, "", to)) {
        complain("write the folder, too")
        next
    }
    if (from != to && (from == "ctl" || to == "ctl")) {
        if (to != "base")
            complain("ctl stands apart, it may use base alone and nobody uses it")
    } else if (from != "ctl" && (!(from in height) || !(to in height)))
        complain("no such layer")
    else if (height[to] > height[from])
        complain(to " is above " from)
    module = $1
    sub(/\.[ch]$/, "", module)
    sub(/\.[ch]$/, "", target)
    if (module != target)
        print module, target >pairs
}' "$tmp/includes" >"$tmp/complaints"

# Libraries and system calls that have one place each.
keep() {
    awk -v library="$1" -v place="$2" -v say="$3" '
        index($3, library) == 1 && $1 !~ place {
            printf "src/%s:%d: includes %s: only %s may\n", $1, $2, $3, say
        }' "$tmp/includes" >>"$tmp/complaints"
}
keep '<openssl/' '^dtls/' 'src/dtls'
keep '<ini.h>' '^conf/ini[.]c$' 'src/conf/ini.c'
keep '<event2/' '^(proxy/(listener|upstream|worker)|daemon/(master|control|health|http|succession|upgrade))[.][ch]$' \
    'src/proxy/{listener,upstream,worker} and src/daemon/{master,control,health,http,succession,upgrade}'
grep -v '^base/udp[a-z_]*\.[ch]$' "$tmp/files" |
    xargs grep -nE '\b(recvmmsg|sendmmsg) *\(|\bUDP_(SEGMENT|GRO)\b' |
    sed 's|^|src/|; s|$|  <- only src/base/udp*.[ch] may|' >>"$tmp/complaints" || :

touch "$tmp/pairs"
tsort "$tmp/pairs" >/dev/null 2>"$tmp/loops" || :
if [ -s "$tmp/loops" ]; then
    sed "s|^tsort: $tmp/pairs: input|src: the includes|; s|^tsort: |    |" "$tmp/loops" \
        >>"$tmp/complaints"
fi

if [ -s "$tmp/complaints" ]; then
    cat "$tmp/complaints"
    exit 1
fi
files=$(wc -l <"$tmp/files")
pairs=$(sort -u "$tmp/pairs" | wc -l)
echo "layers: $files files, $pairs pairs of modules, all downward, no circle"
