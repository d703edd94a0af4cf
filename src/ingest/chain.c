/* SPDX-License-Identifier: Apache-2.0
 *
 * See chain.h. Between two switches any event of the running thread confirms the chain or breaks
 * it; the earlier it breaks, the shorter the gap.
 */
#include "ingest/chain.h"

bool kpi_chain_ran(struct kpi_chain *chain, uint32_t tid, int64_t mono, int64_t *out_from)
{
    bool broken = chain->known && chain->tid != tid;
    if (broken)
        *out_from = chain->since;
    chain->tid = tid;
    chain->since = mono;
    return broken;
}

void kpi_chain_switch(struct kpi_chain *chain, uint32_t next)
{
    chain->tid = next;
    chain->known = true;
}

void kpi_chain_rename(struct kpi_chain *chain, uint32_t tid)
{
    chain->tid = tid;
}

void kpi_chain_break(struct kpi_chain *chain)
{
    chain->known = false;
}
