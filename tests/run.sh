#!/bin/sh
# Runs one test program for `make check`: a fuzz replay over its corpus, any other as it is.
# $srcdir is the top of the sources, as automake tells.
set -eu

case $1 in
*/fuzz_*) exec "$1" "${srcdir:-.}/tests/fuzz/corpus/${1##*/fuzz_}" ;;
*) exec "$1" ;;
esac
