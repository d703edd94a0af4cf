/* SPDX-License-Identifier: Apache-2.0
 *
 * TICKS: differences of times of a clock that ticks, for cold segments. The counters behind many
 * clocks stand still between ticks that are longer than a nanosecond: 10 ns on one kind of
 * processor, 8 or 41 on others. A difference of n ticks of q ns is then floor(n q) or one more, and
 * what looked like noise in the low bits of a time was which multiple of q it is. So numbers are
 * kept as n, by the model of DIRECT, and the nanosecond that may be missing.
 *
 * Where numbers are steps from one time to the next, that nanosecond tells where within it the
 * clock stands: after a few steps the next one is known. The place is kept as an interval that each
 * step makes smaller; a step that contradicts it begins anew.
 *
 *   varint q in 2^-32 ns, u8 how (ticks.h), varint size, coded bits, plain bits
 *
 * The symbol of n (as in DIRECT) is coded under the number's kind; the first bits of the rest under
 * the symbol alone, since kinds differ in how long they take, not in how that is spread within an
 * eighth.
 *
 * Invariant: the reader never reads outside the body and says CORRUPT when it ends too early.
 */
#include <stdlib.h>

#include "storage/direct_int.h"
#include "storage/ticks.h"

#define REST_ALL   4u /* rests of so few bits are coded whole */
#define REST_CODED 2u
#define PERIOD_MIN ((uint64_t)3 << 32) /* a shorter one tells little */
#define PERIOD_MAX ((uint64_t)60 << 32)
#define VALUE_MAX  ((int64_t)1 << 60)
#define ONE        ((uint64_t)1 << 32) /* ns, in the unit of periods */
#define MORE_BITS  6u                  /* of what is above the one nanosecond, in foreign numbers */

/* Contexts beyond all kinds. */
#define CONTEXT_REST  65536u
#define CONTEXT_PHASE 65537u
#define PHASE_STEPS   16u

/* ---------- where the clock stands ---------- */

struct ticks {
    struct kpi_direct direct;
    uint64_t period;
    unsigned how;
    uint64_t low, high; /* at the last time: between two nanoseconds, in 2^-32 */
};

/* The place after a number whose ticks end `part` behind a nanosecond. */
static inline void phase_move(struct ticks *ticks, uint64_t n, uint64_t part)
{
    uint64_t drift = n >> 2;
    ticks->low = part + (ticks->low > drift ? ticks->low - drift : 0);
    ticks->high = part + KP_MIN(ticks->high + KP_MIN(drift, ONE), ONE - 1);
}

/* What is known of whether a nanosecond is missing, as a context. */
static inline uint32_t phase_context(const struct ticks *ticks, uint64_t part)
{
    if ((ticks->how & KPI_TICKS_CHAINED) == 0)
        return (uint32_t)(part / (ONE / PHASE_STEPS));
    if (ticks->low >= ONE || ticks->high < ONE)
        return ticks->low >= ONE;
    uint64_t width = ticks->high - ticks->low + 1;
    return 2 + (uint32_t)((ONE - ticks->low) * (PHASE_STEPS - 2) / (width + 1));
}

/* more: nanoseconds above floor(n q). */
static inline void phase_learn(struct ticks *ticks, uint64_t more)
{
    if (more == 0 && ticks->low < ONE) {
        ticks->high = KP_MIN(ticks->high, ONE - 1);
    } else if (more == 1 && ticks->high >= ONE) {
        ticks->low = KP_MAX(ticks->low, ONE) - ONE;
        ticks->high -= ONE;
    } else {
        ticks->low = 0;
        ticks->high = ONE - 1;
    }
}

/* ---------- numbers ---------- */

/* Bits that are not coded, lowest first. */
struct plain {
    uint64_t pending;
    unsigned held;
    struct kp_buf *out;
    struct kp_reader in;
};

static inline uint64_t plain_bits(struct plain *plain, uint64_t value, unsigned count)
{
    if (plain->out != NULL) {
        for (unsigned done = 0; done < count;) {
            unsigned take = KP_MIN(count - done, 8 - plain->held);
            plain->pending |= (value >> done & ((1u << take) - 1)) << plain->held;
            plain->held += take;
            done += take;
            if (plain->held == 8) {
                kp_buf_char(plain->out, (char)plain->pending);
                plain->pending = plain->held = 0;
            }
        }
        return value;
    }
    uint64_t got = 0;
    for (unsigned done = 0; done < count;) {
        if (plain->held == 0) {
            plain->pending = kp_read_u8(&plain->in);
            plain->held = 8;
        }
        unsigned take = KP_MIN(count - done, plain->held);
        got |= (plain->pending & ((1u << take) - 1)) << done;
        plain->pending >>= take;
        plain->held -= take;
        done += take;
    }
    return got;
}

static unsigned rest_coded(unsigned rest)
{
    return rest <= REST_ALL ? rest : REST_CODED;
}

/* Ticks, written or read. False: there is no such number. */
static inline bool ticks_code(struct kpi_coder *coder, struct ticks *ticks, struct plain *plain,
                              uint32_t kind, uint64_t *n)
{
    bool reads = coder->out == NULL;
    struct kpi_direct *direct = &ticks->direct;
    direct->base = kpi_direct_base(kind);
    uint32_t symbol = kpi_direct_bits(coder, direct, 1, 8, reads ? 0 : kpi_range_symbol(*n)) & 0xff;
    uint64_t floor;
    unsigned rest = kpi_range_rest((uint8_t)symbol, &floor), coded = rest_coded(rest);
    if (rest > KPI_RANGE_WIDE)
        return false;
    uint64_t top = reads ? 0 : (*n - floor) >> (rest - coded);
    direct->base = kpi_direct_base(CONTEXT_REST + (symbol << 8));
    uint64_t got = kpi_direct_bits(coder, direct, 1, coded, (uint32_t)top) - (1u << coded);
    uint64_t low = plain_bits(plain, *n & (((uint64_t)1 << (rest - coded)) - 1), rest - coded);
    if (reads)
        *n = floor + (got << (rest - coded)) + low;
    return true;
}

/* Nanoseconds above floor(n q): 0 or 1, more when this is no difference of ticks. */
static inline uint64_t more_code(struct kpi_coder *coder, struct ticks *ticks, uint64_t n,
                                 uint64_t part, uint64_t more)
{
    struct kpi_direct *direct = &ticks->direct;
    if ((ticks->how & KPI_TICKS_CHAINED) != 0)
        phase_move(ticks, n, part);
    direct->base = kpi_direct_base(CONTEXT_PHASE + phase_context(ticks, part));
    uint32_t some = kpi_direct_bit(coder, direct, 1, more > 0);
    if (some != 0 && kpi_direct_bit(coder, direct, 2, more > 1) != 0)
        more = 2 + (kpi_direct_bits(coder, direct, 4, MORE_BITS, (uint32_t)more - 2) &
                    ((1u << MORE_BITS) - 1));
    else
        more = some;
    if ((ticks->how & KPI_TICKS_CHAINED) != 0)
        phase_learn(ticks, more);
    return more;
}

/* The most ticks that take no longer than value. */
static int64_t ticks_of(int64_t value, uint64_t period)
{
    __int128 end = ((__int128)value + 1) * (__int128)ONE - 1;
    __int128 n = end / (__int128)period;
    return (int64_t)(n - (n * (__int128)period > end));
}

/* One number, written or read. False: there is no such number. */
static inline bool number_code(struct kpi_coder *coder, struct ticks *ticks, struct plain *plain,
                               uint32_t kind, int64_t *value)
{
    bool is_signed = (ticks->how & KPI_TICKS_SIGNED) != 0;
    int64_t n = coder->out == NULL ? 0 : ticks_of(*value, ticks->period);
    uint64_t stored = is_signed ? kp_zigzag(n) : (uint64_t)n, more = 0;
    if (!ticks_code(coder, ticks, plain, kind, &stored))
        return false;
    n = is_signed ? kp_unzigzag(stored) : (int64_t)stored;
    __int128 exact = (__int128)n * (int64_t)ticks->period;
    uint64_t floor = (uint64_t)(exact >> 32);
    if (coder->out != NULL)
        more = (uint64_t)*value - floor;
    *value = (int64_t)(floor + more_code(coder, ticks, stored, (uint32_t)exact, more));
    return true;
}

static kp_status ticks_init(struct ticks *ticks, uint64_t period, unsigned how, uint32_t count)
{
    *ticks = (struct ticks){.period = period, .how = how, .high = ONE - 1};
    return kpi_direct_init(&ticks->direct, count);
}

/* ---------- writing ---------- */

kp_status kpi_ticks_encode(const int64_t *values, const uint16_t *kinds, uint32_t count,
                           uint64_t period, unsigned how, struct kp_buf *out)
{
    struct kp_buf coded = {0}, rests = {0};
    struct kpi_coder coder = {.high = UINT32_MAX, .out = &coded};
    struct plain plain = {.out = &rests};
    struct ticks ticks;
    uint8_t number[10];
    kp_status status = ticks_init(&ticks, period, how, count);
    for (uint32_t i = 0; i < count && status == KP_OK; i++) {
        int64_t value = values[i];
        int64_t least = (how & KPI_TICKS_SIGNED) != 0 ? -VALUE_MAX : 0;
        if (value < least || value > VALUE_MAX)
            status = KP_LIMIT;
        else if (!number_code(&coder, &ticks, &plain, kinds == NULL ? 0 : kinds[i], &value))
            status = KP_LIMIT;
    }
    kpi_coder_end(&coder);
    if (plain.held > 0)
        kp_buf_char(&rests, (char)plain.pending);
    kp_buf_add(out, number, kp_store_varint(number, period));
    kp_buf_char(out, (char)how);
    kp_buf_add(out, number, kp_store_varint(number, coded.size));
    kp_buf_add(out, coded.data, coded.size);
    kp_buf_add(out, rests.data, rests.size);
    if (status == KP_OK && (coded.failed || rests.failed || out->failed))
        status = KP_NO_MEMORY;
    kpi_direct_deinit(&ticks.direct);
    kp_buf_deinit(&coded);
    kp_buf_deinit(&rests);
    return status;
}

/* ---------- reading ---------- */

static kp_status numbers_read(struct kpi_coder *coder, struct ticks *ticks, struct plain *plain,
                              const uint16_t *kinds, uint32_t count, int64_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        out[i] = 0;
        if (!number_code(coder, ticks, plain, kinds == NULL ? 0 : kinds[i], &out[i]) ||
            coder->beyond > KPI_RANGE_SLACK)
            return KP_CORRUPT;
    }
    return plain->in.bad ? KP_CORRUPT : KP_OK;
}

kp_status kpi_ticks_decode(struct kp_reader *in, const uint16_t *kinds, uint32_t count,
                           int64_t *out)
{
    uint64_t period = kp_read_varint(in);
    uint8_t how = kp_read_u8(in);
    uint64_t size = kp_read_varint(in);
    const uint8_t *coded = size > kp_reader_left(in) ? NULL : kp_read_bytes(in, size);
    if (coded == NULL || in->bad || period < PERIOD_MIN || period > PERIOD_MAX ||
        how > (KPI_TICKS_CHAINED | KPI_TICKS_SIGNED))
        return KP_CORRUPT;
    struct ticks ticks;
    kp_status status = ticks_init(&ticks, period, how, count);
    if (status == KP_OK) {
        struct kpi_coder coder = kpi_coder_reader(coded, size);
        struct plain plain = {.in = *in};
        status = numbers_read(&coder, &ticks, &plain, kinds, count, out);
        *in = plain.in;
    }
    kpi_direct_deinit(&ticks.direct);
    return status;
}

kp_status kpi_ticks_body_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                                struct kp_buf *out)
{
    (void)values;
    (void)count;
    (void)level;
    (void)out;
    return KP_LIMIT;
}

kp_status kpi_ticks_body_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    return kpi_ticks_decode(in, NULL, count, out);
}

/* ---------- how long a tick is ---------- */

#define SAMPLE      1024u
#define SAMPLE_LOW  64 /* ns: steps in which the ticks can be counted at once */
#define SAMPLE_HIGH 400
#define FIT_HIGH    ((int64_t)1 << 21)
#define GRID        500u /* periods tried are a part in so many apart */

static inline bool is_ticks(int64_t value, uint64_t period)
{
    uint64_t n = (((uint64_t)value + 1) * ONE - 1) / period;
    return (uint64_t)value - (n * period >> 32) <= 1;
}

/* How many of the numbers are ticks beyond what would be by chance, in thousandths. */
static int64_t surplus(const int64_t *sample, uint32_t count, uint64_t period)
{
    uint32_t hits = 0;
    for (uint32_t i = 0; i < count; i++)
        hits += is_ticks(sample[i], period);
    return (int64_t)hits * 1000 / count - (int64_t)(2000 * ONE / period);
}

/* Least squares over steps as long as the ticks in them can be counted with the period so far. */
static uint64_t period_fit(const int64_t *values, uint32_t count, uint64_t period)
{
    for (int64_t high = SAMPLE_HIGH; high <= FIT_HIGH; high *= 2) {
        unsigned __int128 products = 0, squares = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (values[i] < SAMPLE_LOW || values[i] > high)
                continue;
            uint64_t n = ((uint64_t)values[i] * ONE + period / 2) / period;
            products += n * (uint64_t)values[i];
            squares += n * n;
        }
        if (squares > 0)
            period = (uint64_t)((products << 32) / squares);
    }
    return period;
}

uint64_t kpi_ticks_period(const int64_t *values, uint32_t count)
{
    int64_t sample[SAMPLE];
    uint32_t taken = 0, hits = 0, seen = 0;
    for (uint32_t i = 0; i < count && taken < SAMPLE; i++)
        if (values[i] >= SAMPLE_LOW && values[i] <= SAMPLE_HIGH)
            sample[taken++] = values[i];
    if (taken < SAMPLE / 8)
        return 0;
    uint64_t best = 0;
    int64_t most = 300;
    for (uint64_t period = PERIOD_MIN; period < PERIOD_MAX; period += period / GRID) {
        int64_t is = surplus(sample, taken, period);
        if (is > most) {
            most = is;
            best = period;
        }
    }
    if (best == 0)
        return 0;
    best = period_fit(values, count, best);
    for (uint32_t i = 0; i < count; i++) {
        bool may = values[i] >= SAMPLE_LOW && values[i] <= FIT_HIGH;
        seen += may;
        hits += may && is_ticks(values[i], best);
    }
    return hits > seen / 5 * 4 && best >= PERIOD_MIN && best <= PERIOD_MAX ? best : 0;
}
