#!/bin/sh
# The option table (src/conf/options*.c), the manual and the example file tell the same: each option
# has its sentence and its commented line at its default in etc/dtlsgate.ini, and in
# man/dtlsgate.ini.5 its paragraph with what it takes, its default and whether a reload takes it;
# neither has an option that the table lacks. $CC and $CPPFLAGS say how to compile.
# Usage: options.sh [TOP]
set -eu

cd "${1:-${srcdir:-.}}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The table, one option a line: SECTION KEY SENTENCE DEFAULT TAKES, with tabs between. DEFAULT is
# "-" where there is none, TAKES is the line that the manual must have.
cat >"$tmp/table.c" <<'PROGRAM'
#include "conf/value.h"

#include <stdio.h>

static void print(const char *section, const struct option *o)
{
    char allowed[VALUE_WHY_MAX];

    for (; o->key; o++) {
        printf("%s\t%s\t%s\t%s\tTakes %s; ", section, o->key, o->sentence,
               o->initial ? o->initial : "-", value_allowed(o, allowed, sizeof(allowed)));
        printf(o->initial ? "default %s; " : "required; ",
               o->initial && *o->initial ? o->initial : "empty");
        printf("%s.\n", o->reloadable ? "reloadable" : "needs a restart");
    }
}

int main(void)
{
    print("[daemon]", options_daemon);
    print("[service NAME]", options_service);
    print("[identity PATTERN]", options_identity);
    return 0;
}
PROGRAM
# shellcheck disable=SC2086 # both are lists of words
${CC:-cc} ${CPPFLAGS:-} -std=c11 -D_GNU_SOURCE -Isrc -o "$tmp/table" "$tmp/table.c" \
    src/conf/options.c src/conf/options_identity.c src/conf/spell.c src/conf/value.c \
    src/conf/backends.c src/conf/date.c src/conf/pieces.c src/conf/probe.c \
    src/base/addr.c src/base/bytes.c src/base/prefix.c
"$tmp/table" >"$tmp/rows"

compare() {
    diff -u "$tmp/want" "$tmp/got" >"$tmp/diff" || {
        echo "$1: is not what src/conf/options.c says (- what it should have, + what it has):"
        sed '1,2d' "$tmp/diff"
        bad=1
    }
}
bad=0

# The example file: the default's own text counts where there is one.
awk -F '\t' '{ print $1 " # " $3; print $1 " #" $2 " =" ($4 == "" ? "" : $4 == "-" ? " ..." : " " $4) }
    ' "$tmp/rows" >"$tmp/want"
awk -v rows="$tmp/rows" '
BEGIN {
    while ((getline row < rows) > 0) {
        split(row, cell, "\t")
        required[cell[1] " " cell[2]] = cell[4] == "-"
    }
}
/^#?\[/ { section = $0; sub(/^#/, "", section); if (section ~ /^.service /) section = "[service NAME]"
    if (section ~ /^.identity /) section = "[identity PATTERN]"; next }
section == "" { next }
/^#[a-z0-9-]+ *=/ {
    key = $1
    sub(/^#/, "", key)
    print section " " comment
    print section " " (required[section " " key] ? "#" key " = ..." : $0)
}
{ comment = $0 }' etc/dtlsgate.ini >"$tmp/got"
compare etc/dtlsgate.ini

# The manual: a list below a heading with the section's name, each item with a "Takes" line.
awk -F '\t' '{ print $1 " " $2; print $5 }' "$tmp/rows" >"$tmp/want"
awk '
/^\.S[sh] / { section = match($0, /\[.*\]/) ? substr($0, RSTART, RLENGTH) : "" }
section == "" { next }
/^\.It Cm / { print section " " $3 }
/^Takes / { print }' man/dtlsgate.ini.5 >"$tmp/got"
compare man/dtlsgate.ini.5

[ $bad = 0 ] || exit 1
echo "options: $(wc -l <"$tmp/rows") options stand the same in table, manual and example"
