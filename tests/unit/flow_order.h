/*
 * flow_order: upstream.c's order of flows for those who stand in for the rest of it. To be included
 * behind their struct flow, which has ->order, ->owner and ->is_shared.
 */
#ifndef DTLSGATE_TESTS_FLOW_ORDER_H
#define DTLSGATE_TESTS_FLOW_ORDER_H

#include "proxy/upstream.h"

void upstream_touch(struct flow *f, struct list *order)
{
    if (!f->is_shared)
        list_move_to_end(order, &f->order);
}

void upstream_touch_idlest(struct flow *f, struct list *order)
{
    if (f->is_shared)
        return;
    list_remove(&f->order);
    list_prepend(order, &f->order);
}

void *upstream_idlest(const struct list *order)
{
    struct list *node = list_first(order);

    return node != NULL ? list_entry(node, struct flow, order)->owner : NULL;
}

#endif
