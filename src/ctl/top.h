/*
 * top: dtlsgate's figures, live on a terminal, or once where there is none.
 */
#ifndef DTLSGATE_CTL_TOP_H
#define DTLSGATE_CTL_TOP_H

#include "ctl/talk.h"

/* Runs until q is pressed or dtlsgate is gone. False with t->why. */
bool top_run(struct talk *t) __attribute__((warn_unused_result));

#endif
