#!/bin/sh
# The options of both command lines and the commands of the control socket are the same in the
# sources, in --help, in the manuals and in doc/control.md. Usage: commands.sh [TOP]
set -eu

cd "${1:-${srcdir:-.}}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# What the sources have is in "want"; what stands somewhere else comes in, through a pipe.
compare() {
    sort -u >"$tmp/got"
    [ -s "$tmp/want" ] && diff "$tmp/want" "$tmp/got" >"$tmp/diff" && return
    echo "$1: (< is missing there, > is nothing that the sources know)"
    grep '^[<>]' "$tmp/diff" || :
    : >"$tmp/bad"
}

# check_options SOURCE MANUAL
check_options() {
    sed -n '/^static const struct option /,/^};/s/^ *{"\([a-z-]*\)",.*/\1/p' "$1" | sort >"$tmp/want"
    sed -n '/^static const char help_text/,/;$/s/^ *"  .*--\([a-z-]*\).*/\1/p' "$1" |
        compare "$1: its help"
    sed -n '/^[.]Sh COMMANDS/q; s/^[.]It .*Fl -\([a-z-]*\).*/\1/p' "$2" | compare "$2"
}
check_options src/daemon/cmdline.c man/dtlsgate.8
check_options src/ctl/main.c man/dtlsgatectl.8

# NAME, and NAME --OPTION for each of its own; of those in the table, on one line or two.
with_options() {
    while read -r name rest; do
        echo "$name"
        for word in $(printf '%s\n' "$rest" | grep -oE -- '--[a-z]+'); do echo "$name $word"; done
    done
}
sed -n '/^static const struct command commands/,/^};/p' src/daemon/order.c | tr '\n' ' ' |
    sed 's/{"\([a-z-]*\)", *"\([^"]*\)",/\n@\1 \2\n/g' | sed -n 's/^@//p' | with_options | sort >"$tmp/want"
sed -n '/^[.]Sh COMMANDS/,/^[.]Sh EXIT/s/^[.]It Cm //p' man/dtlsgatectl.8 | sed 's/Fl -/--/g' |
    with_options | grep -v '^top$' | compare man/dtlsgatectl.8
sed -n '/^[|] command /,/^$/s/^[|] \(`[^|]*`\) [|].*/\1/p' doc/control.md | tr '`' '\n' |
    grep '^[a-z]' | with_options | compare doc/control.md

[ ! -e "$tmp/bad" ] || exit 1
echo "commands: options and commands stand the same in sources, help and documents"
