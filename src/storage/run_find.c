/* SPDX-License-Identifier: Apache-2.0
 *
 * Lookups in the runs of a snapshot. A run is opened on first use: its fences and table (4 bytes a
 * page, 16 a segment) stay in memory, its pages are read one at a time.
 */
#include "storage/run_find.h"

#include <stdlib.h>

#include "base/assert.h"
#include "storage/manifest.h"
#include "storage/run_file.h"

enum run_state { RUN_UNOPENED, RUN_OPEN, RUN_FAILED };

struct kpi_snapshot_run {
    struct kpi_run_meta meta;
    const char *path;
    enum run_state state;
    struct kpi_run run;
    uint32_t *numbers; /* segment of the run -> of the snapshot, UINT32_MAX = gone or another */
};

kp_status kpi_runs_take(struct kp_snapshot *snapshot, const char *dir,
                        const struct kpi_manifest *manifest)
{
    snapshot->runs =
        kp_arena_zalloc(&snapshot->arena, manifest->runs_count, sizeof(*snapshot->runs));
    if (snapshot->runs == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < manifest->runs_count; i++) {
        struct kp_buf path = {0};
        kpi_runfile_path(dir, manifest->runs[i].id, &path);
        struct kp_str kept = kp_arena_str(&snapshot->arena, kp_str_from(kp_buf_cstr(&path)));
        bool failed = path.failed || kept.ptr == NULL;
        kp_buf_deinit(&path);
        if (failed)
            return KP_NO_MEMORY;
        snapshot->runs[i].meta = manifest->runs[i];
        snapshot->runs[i].path = kept.ptr;
        snapshot->runs_count++;
    }
    return KP_OK;
}

void kpi_runs_leave(struct kp_snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->runs_count; i++)
        if (snapshot->runs[i].state == RUN_OPEN)
            kpi_runfile_close(&snapshot->runs[i].run);
    snapshot->runs_count = 0;
}

/* ---------- opening ---------- */

static uint32_t segment_number(const struct kp_snapshot *snapshot, uint64_t id)
{
    uint32_t low = 0, high = snapshot->segments_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (snapshot->segments[mid].meta.id < id)
            low = mid + 1;
        else
            high = mid;
    }
    bool found = low < snapshot->segments_count && snapshot->segments[low].meta.id == id;
    return found ? low : UINT32_MAX;
}

static kp_status numbers_make(struct kp_snapshot *snapshot, struct kpi_snapshot_run *from)
{
    uint32_t count = from->run.segments;
    from->numbers = kp_arena_zalloc(&snapshot->arena, count + 1, sizeof(*from->numbers));
    if (from->numbers == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = segment_number(snapshot, kpi_runfile_segment_id(&from->run, i));
        bool covered = number != UINT32_MAX &&
                       kpi_runfile_covers(&from->run, i, &snapshot->segments[number].meta);
        from->numbers[i] = covered ? number : UINT32_MAX;
    }
    return KP_OK;
}

/* False when a writer has merged the run into another since the snapshot was made. */
static bool run_missed(const struct kp_snapshot *snapshot, uint64_t id)
{
    return snapshot->dir == NULL || kpi_manifest_names_run(snapshot->io, snapshot->dir, id);
}

static void run_damage(struct kp_snapshot *snapshot, const struct kpi_snapshot_run *from)
{
    struct kp_damage damage = {.file = from->path,
                               .size = from->meta.bytes,
                               .from = 0,
                               .to = -1,
                               .rows = 0,
                               .what = "run of the transaction index is missing or damaged; the "
                                       "segments' own lists were used instead"};
    kpi_snapshot_add_damage(snapshot, &damage);
}

/* OK: open. CORRUPT: not to be believed, which was reported unless a writer took it away. */
static kp_status run_open(struct kp_snapshot *snapshot, struct kp_io_queue *queue,
                          struct kpi_snapshot_run *from)
{
    pthread_mutex_lock(&snapshot->lock);
    kp_status status = KP_OK;
    bool failed_now = false;
    if (from->state == RUN_UNOPENED) {
        status = kpi_runfile_open(snapshot->io, queue, from->path, &from->meta, &from->run);
        if (status == KP_OK && numbers_make(snapshot, from) != KP_OK) {
            kpi_runfile_close(&from->run);
            status = KP_NO_MEMORY;
        }
        if (status != KP_NO_MEMORY)
            from->state = status == KP_OK ? RUN_OPEN : RUN_FAILED;
        failed_now = from->state == RUN_FAILED;
    }
    bool usable = from->state == RUN_OPEN;
    pthread_mutex_unlock(&snapshot->lock);
    if (failed_now && run_missed(snapshot, from->meta.id))
        run_damage(snapshot, from);
    if (status == KP_NO_MEMORY)
        return status;
    return usable ? KP_OK : KP_CORRUPT;
}

/* ---------- finding ---------- */

struct finding {
    const struct kpi_snapshot_run *from;
    struct kpi_run_places *places;
    struct kp_arena *arena;
    bool failed;
};

static bool place_room(struct finding *finding)
{
    struct kpi_run_places *places = finding->places;
    if (places->count < places->capacity)
        return true;
    uint32_t capacity = places->capacity == 0 ? 16 : places->capacity * 2;
    struct kpi_run_place *more = kp_arena_zalloc(finding->arena, capacity, sizeof(*more));
    if (more == NULL)
        return false;
    if (places->count > 0)
        memcpy(more, places->places, places->count * sizeof(*more));
    places->places = more;
    places->capacity = capacity;
    return true;
}

static void on_entry(void *ctx, const struct kpi_run_entry *entry)
{
    struct finding *finding = ctx;
    struct kpi_run_places *places = finding->places;
    uint32_t number = finding->from->numbers[entry->segment];
    if (number == UINT32_MAX)
        return;
    finding->failed |= !place_room(finding);
    if (finding->failed)
        return;
    places->places[places->count++] = (struct kpi_run_place){number, entry->block};
}

static void segments_mark(const struct kpi_snapshot_run *from, struct kpi_run_places *places,
                          uint32_t first_place)
{
    for (uint32_t i = 0; i < from->run.segments; i++)
        if (from->numbers[i] != UINT32_MAX)
            places->segments[from->numbers[i]] = KPI_RUN_ABSENT;
    for (uint32_t i = first_place; i < places->count; i++)
        places->segments[places->places[i].segment] = KPI_RUN_PRESENT;
}

/* One run; OK also when it is not to be believed, and then nothing of it is. */
static kp_status run_find(struct kp_snapshot *snapshot, struct kp_io_queue *queue,
                          struct kpi_snapshot_run *from, const uint64_t *keys, uint32_t count,
                          struct finding *finding)
{
    uint32_t first_place = finding->places->count;
    kp_status status = run_open(snapshot, queue, from);
    if (status != KP_OK)
        return status == KP_CORRUPT ? KP_OK : status;
    finding->from = from;
    for (uint32_t i = 0; i < count && status == KP_OK; i++)
        status = kpi_runfile_find(&from->run, queue, keys[i], on_entry, finding);
    if (finding->failed)
        return KP_NO_MEMORY;
    if (status == KP_OK) {
        segments_mark(from, finding->places, first_place);
        return KP_OK;
    }
    finding->places->count = first_place;
    if (status == KP_NO_MEMORY)
        return status;
    run_damage(snapshot, from);
    return KP_OK;
}

/* Places of one block may come twice: from two values. */
static int compare_places(const void *a, const void *b)
{
    const struct kpi_run_place *x = a, *y = b;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    return x->block < y->block ? -1 : x->block > y->block;
}

static void places_sort(struct kpi_run_places *places)
{
    uint32_t kept = 0;
    if (places->count > 0)
        qsort(places->places, places->count, sizeof(*places->places), compare_places);
    for (uint32_t i = 0; i < places->count; i++)
        if (kept == 0 || compare_places(&places->places[kept - 1], &places->places[i]) != 0)
            places->places[kept++] = places->places[i];
    places->count = kept;
}

kp_status kpi_runs_find(struct kp_snapshot *snapshot, struct kp_io_queue *queue, uint32_t stream,
                        uint32_t column, const struct kp_str *values, uint32_t count,
                        struct kp_arena *arena, struct kpi_run_places **out)
{
    *out = NULL;
    if (snapshot->runs_count == 0)
        return KP_OK;
    struct kpi_run_places *places = kp_arena_zalloc(arena, 1, sizeof(*places));
    uint64_t *keys = kp_arena_zalloc(arena, (size_t)count + 1, sizeof(*keys));
    if (places == NULL || keys == NULL)
        return KP_NO_MEMORY;
    places->segments = kp_arena_zalloc(arena, (size_t)snapshot->segments_count + 1, 1);
    if (places->segments == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        if (values[i].len == 0)
            return KP_OK; /* rows without a value are in no list */
        keys[i] = kpi_run_key(kpi_exact_hash(stream, column, values[i]));
    }
    struct finding finding = {.places = places, .arena = arena};
    for (uint32_t i = 0; i < snapshot->runs_count; i++) {
        kp_status status = run_find(snapshot, queue, &snapshot->runs[i], keys, count, &finding);
        if (status != KP_OK)
            return status;
    }
    places_sort(places);
    *out = places;
    return KP_OK;
}
