#!/bin/sh
# systemd finds nothing wrong with the units, and each shuts in what it starts as well as
# packaging/systemd/README.md says. Usage: units.sh [TOP]
set -eu

cd "${1:-${srcdir:-.}}/packaging/systemd"
command -v systemd-analyze >/dev/null || {
    echo 'units: skipped, for systemd-analyze is not installed (Debian: systemd)'
    exit 77
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

# It looks for the program, too.
printf '#!/bin/sh\n' >"$tmp/dtlsgate"
chmod 755 "$tmp/dtlsgate"
for unit in *.service.in *.socket.in; do
    sed "s|@sbindir@|$tmp|g; s|@sysconfdir@|/etc|g" "$unit" >"$tmp/${unit%.in}"
done
LC_ALL=C systemd-analyze verify --man=no "$tmp"/*.service "$tmp"/*.socket 2>"$tmp/words" || bad=1
# With the example drop-in, too.
mkdir "$tmp/more"
cp "$tmp"/*.service "$tmp/more"
for unit in "$tmp"/more/*.service; do
    mkdir "$unit.d"
    cp dtlsgate-transparent.conf "$unit.d"
done
LC_ALL=C systemd-analyze verify --man=no "$tmp"/more/*.service 2>>"$tmp/words" || bad=1
if [ -s "$tmp/words" ]; then
    cat "$tmp/words"
    bad=1
fi

for unit in *.service.in; do
    unit=${unit%.in}
    score=$(LC_ALL=C systemd-analyze security --offline=true --no-pager "$tmp/$unit" |
        sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    grep -qF "| \`$unit\` | $score |" README.md || {
        echo "README.md: the exposure of $unit is ${score:-unknown}"
        bad=1
    }
done

# Each directive has its reason above it, or above the group it stands in.
awk '
/^#/ { explained = 1; next }
/^$/ || /^\[/ { explained = 0; next }
!explained && !/^(Description|Documentation|User|Group|WantedBy)=/ {
    print FILENAME ":" FNR ": no comment above: " $0
    bad = 1
}
END { exit bad }' ./*.service.in ./*.socket.in ./*.conf || bad=1

[ $bad = 0 ] || exit 1
set -- *.service.in *.socket.in *.conf
echo "units: $# units are sound"
