/* SPDX-License-Identifier: Apache-2.0
 *
 * What pictures are drawn from: the rows of an answer as stretches on lanes (a timeline), and as
 * nodes in three layers (a causal graph: what it was, whose time it was, the whole). Shared by the
 * formats graph, dot and svg.
 */
#ifndef KP_RENDER_PICTURE_H
#define KP_RENDER_PICTURE_H

#include "render/render_int.h"

#define KPI_PICTURE_ROWS   4096
#define KPI_PICTURE_NODES  40 /* drawn in one layer; what is smaller is drawn together */
#define KPI_PICTURE_SCREEN 20 /* causes: of more, next to no share is drawn together too */

struct kpi_stretch {
    struct kp_str lane; /* whose time: thread, service or CPU */
    struct kp_str what; /* kind, state or name */
    struct kp_str who;  /* culprit or object; empty = nobody */
    struct kp_str rule, strength, edge;
    kp_time start;
    kp_dur dur;
    int64_t level; /* of CHAIN; -1 = none */
    bool root, timed;
    bool folded; /* its lane was too small to be drawn alone */
};

struct kpi_node {
    struct kp_str title, kind;
    struct kp_str edge; /* of a chain: how it is known; empty = it is the first */
    kp_dur dur;
    bool root, weak;
    uint32_t layer; /* 0 = causes, 1 = lanes, 2 = the whole */
    uint32_t up;    /* node it points to; UINT32_MAX for the whole */
    uint32_t rows;
    uint32_t folded; /* causes drawn as this one, when there are too many */
};

struct kpi_picture {
    struct kpi_stretch *stretches;
    uint32_t count;
    uint64_t skipped; /* rows beyond KPI_PICTURE_ROWS or without a dur */
    kp_dur sum;
    bool causal;            /* it names culprits: a graph can be drawn */
    bool chain;             /* rows of CHAIN: each points to the one before */
    bool timed;             /* it has instants: a timeline can be drawn */
    struct kpi_node *nodes; /* the whole first; made by kpi_picture_nodes */
    uint32_t nodes_count;
    int cols[32];
    struct kp_buf text;
};

/* Begins a picture; INVALID when the rows have no dur, and no kind, state or name. */
kp_status kpi_picture_begin(struct kp_render *render, struct kpi_picture **out);
void kpi_picture_batch(struct kp_render *render, struct kpi_picture *picture,
                       const struct kp_batch *batch);
/* Makes the graph's nodes, the largest first in each layer; of many lanes or causes the smallest
 * are one, so that the sums stay. False when out of memory. */
bool kpi_picture_nodes(struct kp_render *render, struct kpi_picture *picture);
/* "59.45 %" of the whole. */
void kpi_picture_share(const struct kpi_picture *picture, kp_dur dur, struct kp_buf *out);
/* Colour of a kind as #rrggbb: running is green, waiting for a CPU red, devices blue ... */
const char *kpi_picture_color(struct kp_str kind);

#endif
