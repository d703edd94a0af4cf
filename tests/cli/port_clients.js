// SPDX-License-Identifier: Apache-2.0
// Clients of InfluxDB against the query port: port_clients.js NODE_MODULES PORT [TOKEN].
'use strict';
const [modules, port, token] = process.argv.slice(2);
const { InfluxDB } = require(modules + '/influx');
const second = require(modules + '/@influxdata/influxdb-client');

function check(good, what, more) {
    console.log((good ? 'ok      ' : 'FAILED  ') + what);
    if (!good) {
        console.error(more);
        process.exit(1);
    }
}

async function first() {
    const known = token ? { username: 'anybody', password: token } : {};
    const influx = new InfluxDB({ host: '127.0.0.1', port: Number(port), database: 'kprobe', ...known });
    const alive = await influx.ping(5000);
    check(alive[0].online && alive[0].version.startsWith('1.8'), 'influx: ping', alive);
    check((await influx.getDatabaseNames()).includes('kprobe'), 'influx: database names');
    const names = await influx.getMeasurements();
    check(names.includes('syscall'), 'influx: measurements', names);
    const rows = await influx.query('CAUSES OF txn 98721 WITHIN 2s', { precision: 'ms' });
    check(rows.length > 0 && rows[0].kind && rows[0].ts_ns.length === 19, 'influx: causes', rows[0]);
    const mean = await influx.query(
        'SELECT mean("dur") FROM "syscall" GROUP BY time(1s), "comm" fill(none)');
    check(mean.groups().length > 3, 'influx: groups', mean);
    await influx.writePoints([{
        measurement: 'spans', tags: { service: 'node' },
        fields: { name: 'one', txn: 'node-1' }, timestamp: new Date(),
    }], { precision: 'ms' });
    const written = await influx.query("spans | where txn == 'node-1'");
    check(written.length === 1 && written[0].name === 'one', 'influx: a written span', written);
    const failed = await influx.query('nix').then(() => null, error => error);
    check(/unknown table/.test(failed.message), 'influx: an error', failed);
}

async function flux() {
    const client = new second.InfluxDB({ url: `http://127.0.0.1:${port}`, token: token || 't' });
    const api = client.getQueryApi('org');
    const rows = await api.collectRows('CAUSES OF txn 98721 WITHIN 2s');
    check(rows.length > 0 && /\.\d{9}Z$/.test(rows[0].start) && typeof rows[0].dur === 'number',
        'influxdb-client: causes in nanoseconds', rows[0]);
    const write = client.getWriteApi('org', 'bucket', 'ns', { gzipThreshold: 1 });
    write.writePoint(new second.Point('spans').tag('service', 'node').stringField('name', 'two')
        .stringField('txn', 'node-2').intField('dur_ns', 7));
    await write.close();
    const written = await api.collectRows("spans | where txn == 'node-2' | project ts, dur, service");
    check(written.length === 1 && written[0].dur === 7, 'influxdb-client: a written span', written);
    const failed = await api.collectRows('nix').then(() => null, error => error);
    check(failed.statusCode === 400 && /unknown table/.test(failed.message),
        'influxdb-client: an error', failed);
}

first().then(flux).catch(error => {
    console.error(error);
    process.exit(1);
});
