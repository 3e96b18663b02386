/*
 * outcome: the answers to a reload and an upgrade, and how each answer begins. Text and JSON, by
 * way of show. Knows no connection and no command.
 */
#ifndef DTLSGATE_DAEMON_OUTCOME_H
#define DTLSGATE_DAEMON_OUTCOME_H

#include "base/errors.h"
#include "daemon/show.h"
#include "daemon/upgrade.h"

/* The first words of an answer, and those of a refusal, which drops what was there. show_end() ends
 * either. */
void outcome_begin(struct show *s);
void outcome_refuse(struct show *s, const char *why);

/* Whole answers. A reload was done, or refused for these errors (NULL: none); and an upgrade, for
 * which one of the two is not NULL. */
void outcome_of_reload(struct show *s, const struct errors *errors);
void outcome_of_upgrade(struct show *s, const struct errors *errors,
                        const struct upgrade_report *report);

#endif
