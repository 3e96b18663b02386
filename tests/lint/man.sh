#!/bin/sh
# The manual pages are sound mdoc, down to mandoc's style advice, and speak of no place that configure
# may move but those that the build moves in them. Usage: man.sh [TOP]
set -eu

cd "${1:-${srcdir:-.}}/man"
if grep -n '/etc/\|/run/\|/var/\|/usr/' ./*.[1-9] | grep -v '/etc/dtlsgate/\|/run/dtlsgate/'; then
    echo 'man: name paths below /etc/dtlsgate/ and /run/dtlsgate/ only, which Makefile.am substitutes'
    exit 1
fi
command -v mandoc >/dev/null || {
    echo 'man: skipped, for mandoc is not installed (Debian: mandoc)'
    exit 77
}

# What is said about pages that are not installed, our own among them, tells nothing about these.
if mandoc -T lint -W style ./*.[1-9] 2>&1 | grep -v 'referenced manual not found\|outdated mandoc.db' | grep .; then
    exit 1
fi
set -- ./*.[1-9]
echo "man: $# pages are sound"
