/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts and stops the doors: the API on TCP, the same API on a unix socket in the data directory
 * (with holds) and on one for all of the machine, OTLP and the query port on ports of their own.
 * Stopping lets running requests finish within a grace period.
 */
#include "server/server_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/auth.h"
#include "server/port.h"

static kp_status start_port(struct kp_server *server, const struct kpi_http_opts *api,
                            struct kp_error *err)
{
    struct kpi_http_opts influx = *api;
    size_t spans = server->opts.spans.body_bytes_max; /* /write takes as much as OTLP */
    influx.name = "influx";
    influx.listen = NULL;
    influx.body_bytes_max = spans != 0 ? spans : KPI_BODY_BYTES_DEFAULT;
    influx.connections = KPI_INFLUX_CLIENTS_MAX;
    influx.handler = kpi_influx_handle;
    influx.refuse = kpi_influx_error;
    kp_status status = kpi_http_start(&influx, &server->influx, err);
    struct kpi_port_opts port = {
        .server = server, .listen = server->opts.query_listen, .http = server->influx};
    return status == KP_OK ? kpi_port_start(&port, &server->port, err) : status;
}

/* Without holds: this socket's mode says who may ask, not who owns the data. */
static kp_status start_shared(struct kp_server *server, const struct kpi_http_opts *api,
                              struct kp_error *err)
{
    struct kpi_http_opts shared = *api;
    shared.name = "socket";
    shared.listen = NULL;
    shared.unix_path = server->opts.socket;
    shared.unix_mode = 0660;
    kp_status status = kpi_http_start(&shared, &server->shared, err);
    if (status == KP_OK || !server->opts.socket_optional)
        return status;
    kp_log(KP_LOG_WARN, "kpd", "goes on without %s: %s", server->opts.socket, err->text);
    *err = (struct kp_error){0};
    return KP_OK;
}

static kp_status start_doors(struct kp_server *server, struct kp_error *err)
{
    size_t body = server->opts.spans.body_bytes_max;
    struct kpi_http_opts api = {.name = "api",
                                .listen = server->opts.listen,
                                .body_bytes_max = KPI_QUERY_BYTES_MAX,
                                .handler = kpi_api_handle,
                                .refuse = kpi_api_refuse,
                                .ctx = server,
                                .stat = &server->http,
                                .draining = &server->draining};
    struct kpi_http_opts local = api, otlp = api;
    local.name = "local";
    local.listen = NULL;
    local.unix_path = server->local_path;
    local.unix_mode = 0600;
    local.handler = kpi_local_handle;
    otlp.name = "otlp";
    otlp.listen = server->opts.otlp_listen;
    otlp.body_bytes_max = body != 0 ? body : KPI_BODY_BYTES_DEFAULT;
    otlp.handler = kpi_otlp_handle;
    otlp.refuse = kpi_otlp_error;
    kp_status status = kpi_auth_open(server->opts.query_auth, &server->query_auth, err);
    if (status == KP_OK)
        status = kpi_auth_open(server->opts.otlp_auth, &server->otlp_auth, err);
    if (status == KP_OK)
        status = kpi_http_start(&local, &server->local, err);
    if (status == KP_OK && server->opts.socket != NULL)
        status = start_shared(server, &api, err);
    if (status == KP_OK && api.listen != NULL)
        status = kpi_http_start(&api, &server->api, err);
    if (status == KP_OK && otlp.listen != NULL)
        status = kpi_http_start(&otlp, &server->otlp, err);
    if (status == KP_OK && server->opts.query_listen != NULL)
        status = start_port(server, &api, err);
    return status;
}

kp_status kp_server_start(struct kp_store *store, const struct kp_server_opts *opts,
                          struct kp_server **out, struct kp_error *err)
{
    pthread_condattr_t clock;
    struct kp_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the server");
    server->store = store;
    server->opts = *opts;
    snprintf(server->local_path, sizeof(server->local_path), "%s/kpd.sock", opts->dir);
    server->started = kp_time_monotonic();
    kpi_recent_init(&server->recent, store);
    pthread_mutex_init(&server->run_lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&server->run_ended, &clock);
    pthread_condattr_destroy(&clock);
    kp_status status = start_doors(server, err);
    if (status != KP_OK) {
        kp_server_stop(server, 0);
        return status;
    }
    *out = server;
    return KP_OK;
}

void kp_server_stop(struct kp_server *server, kp_dur grace)
{
    if (server == NULL)
        return;
    int64_t deadline = kp_time_monotonic() + grace;
    atomic_store(&server->draining, true);
    kpi_http_stop(server->otlp, deadline); /* intake first */
    kpi_port_stop(server->port, deadline); /* gives connections to influx until it ends */
    kpi_http_stop(server->influx, deadline);
    kpi_http_stop(server->api, deadline);
    kpi_http_stop(server->shared, deadline);
    kpi_http_stop(server->local, deadline);
    kpi_auth_close(server->otlp_auth);
    kpi_auth_close(server->query_auth);
    kpi_recent_deinit(&server->recent);
    pthread_cond_destroy(&server->run_ended);
    pthread_mutex_destroy(&server->run_lock);
    free(server);
}

void kp_server_tick(struct kp_server *server)
{
    kpi_recent_tick(&server->recent);
}

const char *kp_server_socket(const struct kp_server *server)
{
    return server->shared != NULL ? server->opts.socket : NULL;
}

uint16_t kp_server_port(const struct kp_server *server, enum kp_door door)
{
    if (door == KP_DOOR_QUERY)
        return server->port == NULL ? 0 : kpi_port_number(server->port);
    const struct kpi_http *http = door == KP_DOOR_OTLP ? server->otlp : server->api;
    return http == NULL ? 0 : kpi_http_port(http);
}
