#!/bin/sh
# doc/metrics.md has each counter, gauge, fate, reason and metric that the sources have, each field
# of the access log, and no other. The names come from the tables that the program itself is made
# of, the metrics from what src/daemon/metrics.c writes. $CC and $CPPFLAGS say how to compile.
# Usage: metrics.sh [TOP]
set -eu

cd "${1:-${srcdir:-.}}"
doc=doc/metrics.md
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# What the process knows by itself stands in for a process that runs.
cat >"$tmp/names.c" <<'PROGRAM'
#include "daemon/metrics.c"
#include "proxy/session_end.h"

static struct stats stats;

uint64_t log_lost(void) { return 0; }
uint64_t access_lost(void) { return 0; }
uint64_t clock_now_ms(void) { return 0; }
const char *tlsctx_library_version(void) { return ""; }
void process_measure(struct process_usage *u) { memset(u, 0, sizeof *u); }
size_t psk_count(const struct psk_set *set) { (void)set; return 0; }
unsigned fleet_count(const struct fleet *f) { (void)f; return 1; }
const struct stats *fleet_stats(const struct fleet *f, unsigned i)
{
    (void)f, (void)i;
    return &stats;
}
uint64_t fleet_service_count(const struct fleet *f, unsigned service, enum service_counter what)
{
    (void)f, (void)service, (void)what;
    return 0;
}
size_t fleet_backends(const struct fleet *f, unsigned service, uint64_t now_ms,
                      struct fleet_backend out[BALANCE_SLOTS])
{
    (void)f, (void)service, (void)now_ms;
    memset(out, 0, sizeof *out);
    return 1;
}
double status_state_seconds(const struct status *s, const struct fleet_backend *b, uint64_t now_ms)
{
    (void)s, (void)b, (void)now_ms;
    return 0;
}
const char *backends_format(const struct backends *b, char *text, size_t size)
{
    (void)b, (void)text, (void)size;
    return "";
}

static void print_items(void)
{
    static const char *const kinds[] = {[STATS_COUNTER] = "counters", [STATS_GAUGE] = "gauges",
                                        [STATS_FROM_CLIENT] = "client",
                                        [STATS_FROM_BACKEND] = "backend"};
#define END_TEXT(name, text) text,
    static const char *const ends[] = {SESSION_ENDS(END_TEXT)};

    for (const struct stats_item *item = stats_items; item->name != NULL; item++)
        printf("%s\t%s\n", kinds[item->kind], item->name);
    for (size_t i = SESSION_END_NOT_YET + 1; i < sizeof(ends) / sizeof(*ends); i++)
        printf("ends\t%s\n", ends[i]);
}

int main(int argc, char **argv)
{
    static struct conf_service service = {.name = "one"};
    static struct conf conf = {.service_count = 1, .service = &service};
    struct status status = {.conf = &conf, .event_library = ""};
    struct text out = {0};

    if (argc > 1 && strcmp(argv[1], "items") == 0) {
        print_items();
        return 0;
    }
    metrics_write(&status, &out);
    fwrite(out.data, 1, out.len, stdout);
    text_clear(&out);
    return 0;
}
PROGRAM
# shellcheck disable=SC2086 # both are lists of words
${CC:-cc} ${CPPFLAGS:-} -std=c11 -D_GNU_SOURCE -DPACKAGE_VERSION='""' -include stdio.h -Isrc \
    -o "$tmp/names" "$tmp/names.c" src/base/addr.c src/base/bytes.c src/base/text.c \
    src/proxy/stats.c

"$tmp/names" items >"$tmp/items"
# Those that are not the workers'.
grep -oE 'show_counter\(s, "[a-z_]+"' src/daemon/view.c | sed 's/.*"\(.*\)"/counters\t\1/' >>"$tmp/items"
grep -hoE 'fields_(text|number|addr|bytes)\(&?f, "[a-z-]+"' src/proxy/account.c src/proxy/fields.c |
    sed 's/.*"\(.*\)"/access-log\t\1/' | sort -u >>"$tmp/items"

# NAME LABELS, the labels in their order with commas; no label's value has a comma here.
"$tmp/names" metrics | grep -v '^#' | sed 's/ [^ ]*$//; s/="[^"]*"//g; s/{/\t/; s/}//' |
    sed '/\t/!s/$/\t/' | sort -u >"$tmp/families"

# The document: KIND and the names in the first cell; of metrics also their labels.
awk -F ' *[|] *' -v names="$tmp/doc-items" -v families="$tmp/doc-families" '
/^<!-- [a-z-]+ -->$/ { kind = $0; gsub(/[<>! -]/, "", kind); next }
/^#/ { kind = "" }
kind == "" || !/^[|] *`/ { next }
{
    cells = $2
    while (match(cells, /`[^`]*`/)) {
        name = substr(cells, RSTART + 1, RLENGTH - 2)
        cells = substr(cells, RSTART + RLENGTH)
        if (kind != "metrics")
            print (kind == "accesslog" ? "access-log" : kind) "\t" name >names
        else {
            labels = $3
            gsub(/[` ]/, "", labels)
            print name "\t" labels >families
        }
    }
    if (kind == "counters" || kind == "gauges") {
        gsub(/`/, "", $3)
        print $3 "\t" ($2 ~ /log_lost/ ? "" : "worker") >families
    }
}' "$doc"

bad=0
compare() {
    sort "$1" >"$tmp/want"
    sort "$2" >"$tmp/got"
    diff -u "$tmp/want" "$tmp/got" >"$tmp/diff" || {
        echo "$doc: is not what the sources say (- what it should have, + what it has):"
        sed '1,2d' "$tmp/diff" | grep '^[-+]'
        bad=1
    }
}
compare "$tmp/items" "$tmp/doc-items"
compare "$tmp/families" "$tmp/doc-families"

[ $bad = 0 ] || exit 1
echo "metrics: $(wc -l <"$tmp/items") names and $(wc -l <"$tmp/families") metrics stand the same in sources and document"
