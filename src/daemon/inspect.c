/*
 * inspect: loads the settings, and asks whoever would find something wrong with them. See the
 * header. Must never open a socket, nor make a file.
 */
#include "daemon/inspect.h"

#include "base/errors.h"
#include "conf/conf.h"
#include "daemon/places.h"
#include "daemon/priv.h"
#include "daemon/review.h"
#include "daemon/state.h"

#include <stdio.h>

/* What a start would find wrong with files, or miss later. */
static void check_files(const struct places *places, struct errors *errors, struct errors *found)
{
    const struct conf_daemon *daemon = &places->conf->daemon;
    struct state_dir *state = NULL;
    char name[PLACES_NAME_MAX];
    struct priv priv;
    bool has_user = priv_find(&priv, daemon, places->source, errors);

    if (has_user && !priv_check(&priv, places->source, found))
        return;
    (void)places_check(places, errors);
    if (state_awaits_credential(daemon))
        errors_add(found,
                   "%s: daemon.state-dir: its key is to come as a credential, which is not here "
                   "and could not be looked at",
                   places_state_name(places, name));
    else if (state_new(&state, daemon, places_state_name(places, name), errors))
        state_free(state);
    if (has_user)
        places_review(places, &priv, errors, found);
    priv_review(&priv, places->source, found);
}

/* What a start would warn of, too. */
static void review(const struct conf *conf, const char *source, struct errors *found)
{
    size_t descriptors = priv_raise_descriptors(review_descriptors(conf));

    review_limits(conf, source, descriptors, found);
    review_settings(conf, source, found);
    review_keys(conf, found);
}

/* Empties all of it; false where there was any mistake. */
static bool finish(const struct conf *conf, struct errors *errors, struct errors *found)
{
    bool is_fine = errors->count == 0;

    if (is_fine)
        errors_print(found, stderr, "warning: ");
    errors_print(errors, stderr, "");
    errors_clear(errors);
    errors_clear(found);
    conf_unref(conf);
    return is_fine;
}

bool inspect_test(const struct cmdline *c)
{
    struct errors errors = {.count = 0}, found = {.count = 0};
    const char *source = cmdline_source_name(c);
    const struct conf *conf = conf_load(&c->source, &errors);

    if (conf != NULL) {
        review(conf, source, &found);
        check_files(&(struct places){conf, source, c->pidfile, false}, &errors, &found);
    }
    if (!finish(conf, &errors, &found))
        return false;
    printf("%s: settings are valid\n", source);
    return true;
}

bool inspect_show(const struct cmdline *c)
{
    struct errors errors = {.count = 0}, none = {.count = 0};
    const struct conf *conf = conf_load(&c->source, &errors);
    struct priv priv;

    if (conf != NULL && priv_find(&priv, &conf->daemon, cmdline_source_name(c), &errors))
        conf_print(conf, stdout);
    return finish(conf, &errors, &none);
}
