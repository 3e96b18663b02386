/*
 * main of dtlsgatectl: its command line becomes one question, and the answer its output.
 * Must never know the commands, so that each dtlsgate may have its own; `top` alone is made here.
 */
#include "ctl/talk.h"
#include "ctl/top.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef RUNSTATEDIR
#define RUNSTATEDIR "/run"
#endif
#define DEFAULT_SOCKET RUNSTATEDIR "/dtlsgate/control.sock"
#define WORDS_MAX 64

enum exit_status { EXIT_FINE = 0, EXIT_REFUSED = 1, EXIT_UNASKED = 2 };

static const char help_text[] =
    "Usage: dtlsgatectl [-s SOCKET] COMMAND [ARGUMENT]... [--json]\n"
    "       dtlsgatectl [-s SOCKET] top\n"
    "Asks a running dtlsgate, or tells it what to do.\n"
    "\n"
    "  -s, --socket SOCKET  its control-socket (default: " DEFAULT_SOCKET ")\n"
    "  -V, --version        print the version and exit\n"
    "  -h, --help           print this help and exit\n"
    "\n"
    "The command \"help\" lists the commands that it knows; \"top\" shows what it does, live.\n"
    "Exit status: 0 fine, 1 refused, 2 wrong usage or no answer.\n";

static const struct option options[] = {
    {"socket", required_argument, NULL, 's'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void complain(const struct talk *t)
{
    fflush(stdout);
    fprintf(stderr, "dtlsgatectl: %s\n", t->why);
}

/* Output that did not arrive, say on a full disk, is no success. */
static enum exit_status finish_output(enum exit_status status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    perror("dtlsgatectl: cannot write the output");
    return EXIT_UNASKED;
}

/* An object goes where whoever asked for one reads it, also when it tells of an error. */
static bool wants_json(const char *const word[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word[i], "--json") == 0)
            return true;
    return false;
}

static enum exit_status ask(struct talk *t, const char *const word[], size_t count)
{
    FILE *answer = talk_ask(t, word, count);
    enum talk_verdict verdict = answer != NULL ? talk_verdict(t, answer) : TALK_NONE;
    FILE *to = verdict == TALK_FINE || wants_json(word, count) ? stdout : stderr;
    char part[4096];
    ssize_t n;

    if (verdict != TALK_FINE)
        complain(t);
    /* As it comes: a trace goes on for long. */
    while (verdict != TALK_NONE && (n = read(fileno(answer), part, sizeof(part))) > 0) {
        fwrite(part, 1, (size_t)n, to);
        if (fflush(to) != 0)
            break;
    }
    if (answer != NULL)
        fclose(answer);
    if (verdict == TALK_NONE)
        return EXIT_UNASKED;
    return finish_output(verdict == TALK_FINE ? EXIT_FINE : EXIT_REFUSED);
}

static enum exit_status run_top(struct talk *t)
{
    if (top_run(t))
        return finish_output(EXIT_FINE);
    complain(t);
    return EXIT_UNASKED;
}

static enum exit_status refuse_usage(const char *why)
{
    fprintf(stderr, "dtlsgatectl: %s\nTry 'dtlsgatectl --help'.\n", why);
    return EXIT_UNASKED;
}

/* A command's own stand behind it, and are not known here. `word`: what getopt_long() has gone
 * through, unless that is a group of short ones that it is still in. */
static enum exit_status refuse_option(const char *word)
{
    char one[] = {'-', (char)optopt, '\0'}, why[256];

    snprintf(why, sizeof(why), "%s is no option here; those of a command stand behind it",
             strncmp(word, "--", 2) == 0 ? word : one);
    return refuse_usage(why);
}

int main(int argc, char *argv[])
{
    struct talk t = {.socket = DEFAULT_SOCKET};
    const char *word[WORDS_MAX];
    size_t count = 0;
    int option;

    signal(SIGPIPE, SIG_IGN);
    opterr = 0;
    /* Behind the command all is the command's. */
    while ((option = getopt_long(argc, argv, "+:s:Vh", options, NULL)) != -1) {
        switch (option) {
        case 's':
            t.socket = optarg;
            break;
        case 'V':
            printf("dtlsgatectl %s\n", PACKAGE_VERSION);
            return (int)finish_output(EXIT_FINE);
        case 'h':
            fputs(help_text, stdout);
            return (int)finish_output(EXIT_FINE);
        case ':':
            return (int)refuse_usage("-s needs the path of a socket");
        default:
            return (int)refuse_option(argv[optind - 1]);
        }
    }
    for (int i = optind; i < argc; i++) {
        if (count == WORDS_MAX)
            return (int)refuse_usage("too many arguments");
        word[count++] = argv[i];
    }
    if (count == 0)
        return (int)refuse_usage("no command");
    if (strcmp(word[0], "top") == 0)
        return (int)(count == 1 ? run_top(&t) : refuse_usage("top takes no arguments"));
    return (int)ask(&t, word, count);
}
