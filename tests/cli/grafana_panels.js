// SPDX-License-Identifier: Apache-2.0
// Answers as the frames that Grafana's panels get: grafana_panels.js NODE_MODULES < PANELS.json.
//
// Frames are made as the InfluxDB source makes them from a table answer, with the panel's own
// transformations run over them by @grafana/data, and must hold what each kind of panel looks for.
'use strict';
const modules = process.argv[2];
const data = require(modules + '/@grafana/data');
globalThis.window = {}; // looked into by transformations; before the line above it would mean a browser

function check(good, what, more) {
    console.log((good ? 'ok      ' : 'FAILED  ') + what);
    if (!good) {
        console.error(JSON.stringify(more).slice(0, 2000));
        process.exit(1);
    }
}

function fieldType(name, values) {
    const value = values.find(one => one !== null);
    if (name === 'time') {
        return data.FieldType.time;
    }
    return { number: data.FieldType.number, boolean: data.FieldType.boolean }[typeof value] || data.FieldType.string;
}

// One frame of all series: the columns of the first.
function toFrame(refId, series) {
    const fields = series[0].columns.map((name, column) => {
        const values = series.flatMap(one => one.values.map(row => row[column]));
        return { name, type: fieldType(name, values), values, config: {} };
    });
    return data.toDataFrame({ refId, name: series[0].name, fields });
}

function run(frames, transformation) {
    if (transformation.id === 'partitionByValues') {
        return frames.flatMap(frame => partition(frame, transformation.options.fields[0]));
    }
    return new Promise((resolve, reject) => {
        data.transformDataFrame([transformation], frames, { interpolate: text => text })
            .subscribe({ next: resolve, error: reject });
    });
}

async function transform(frames, transformations) {
    for (const one of transformations) {
        frames = await run(frames, one);
    }
    return frames;
}

function column(frame, name, type) {
    const field = frame.fields.find(one => one.name === name);
    check(field && (!type || field.type === type), `  column ${name}${type ? ', ' + type : ''}`,
        frame.fields.map(one => [one.name, one.type]));
    return field.values;
}

// partitionByValues: lives in Grafana itself and not in its library.
function partition(frame, name) {
    const by = frame.fields.find(field => field.name === name);
    return [...new Set(by.values)].map(value => {
        const rows = by.values.map((one, row) => row).filter(row => by.values[row] === value);
        const fields = frame.fields.filter(field => field !== by)
            .map(field => ({ ...field, values: rows.map(row => field.values[row]) }));
        return data.toDataFrame({ refId: frame.refId, name: value, fields });
    });
}

const panels = {
    nodeGraph(frames) {
        const nodes = frames.find(frame => frame.refId === 'nodes');
        const edges = frames.find(frame => frame.refId === 'edges');
        const ids = new Set(column(nodes, 'id', 'string'));
        check(ids.size === nodes.length && nodes.length <= 1500, '  ids of nodes are unique, and not too many');
        column(nodes, 'title', 'string');
        const arcs = nodes.fields.filter(field => field.name.startsWith('arc__'));
        check(arcs.length > 0 && nodes.fields[0].values.every((_, row) =>
            Math.abs(arcs.reduce((sum, arc) => sum + arc.values[row], 0) - 1) < 1e-3), '  arcs add up to one');
        const source = column(edges, 'source', 'string');
        const target = column(edges, 'target', 'string');
        check(new Set(column(edges, 'id', 'string')).size === edges.length, '  ids of edges are unique');
        check(source.every(id => ids.has(id)) && target.every(id => ids.has(id)), '  edges end at nodes');
    },
    traces(frames) {
        const [frame] = frames;
        const span = column(frame, 'spanID', 'string');
        const parent = column(frame, 'parentSpanID', 'string');
        const known = new Set(span);
        check(span.every(id => id) && known.size === span.length, '  every row is a span of its own');
        check(parent.filter(id => !known.has(id)).length === 1, '  with one root');
        check(new Set(column(frame, 'traceID', 'string')).size === 1, '  of one trace');
        column(frame, 'operationName', 'string');
        column(frame, 'serviceName', 'string');
        const start = column(frame, 'startTime', 'number');
        check(start.every(one => one > 1e12 && one < 1e13), '  starts are milliseconds');
        check(column(frame, 'duration', 'number').every(one => one >= 0), '  durations too');
    },
    flamegraph(frames) {
        const [frame] = frames;
        const level = column(frame, 'level', 'number');
        const value = column(frame, 'value', 'number');
        const self = column(frame, 'self', 'number');
        column(frame, 'label', 'string');
        check(level[0] === 0 && level.every((one, row) => row === 0 || (one > 0 && one <= level[row - 1] + 1)),
            '  depth first', level);
        check(self.every((one, row) => one <= value[row]), '  no row is less than itself');
        const sums = level.map((one, row) => {
            let sum = self[row];
            for (let below = row + 1; below < level.length && level[below] > one; below++) {
                sum += level[below] === one + 1 ? value[below] : 0;
            }
            return sum;
        });
        check(sums.every((sum, row) => sum === value[row]), '  a row is itself and what is below it');
    },
    'state-timeline'(frames) {
        for (const frame of frames) {
            const time = frame.fields.find(field => field.type === data.FieldType.time);
            check(time && time.values.every((one, row) => row === 0 || one >= time.values[row - 1]),
                '  times ascend', frame.fields.map(field => field.name));
            const states = frame.fields.filter(field => field.type !== data.FieldType.time);
            check(states.length === 1 && states[0].type === data.FieldType.string, '  one lane of states',
                states.map(field => field.name));
        }
    },
    timeseries(frames) {
        check(frames.every(frame => frame.fields.some(field => field.type === 'number')), '  numbers to draw');
    },
    table(frames) {
        check(frames.every(frame => frame.length > 0), '  rows to show');
    },
};

async function main() {
    const known = new Map(Object.values(data.standardTransformers).map(one =>
        [one.id, { id: one.id, name: one.name, transformation: () => one }]));
    data.standardTransformersRegistry.setInit(() => [...known.values()]);
    const asked = JSON.parse(require('fs').readFileSync(0, 'utf8'));
    for (const panel of asked) {
        const frames = Object.entries(panel.answers).map(([refId, series]) => toFrame(refId, series));
        const shown = await transform(frames, panel.transformations);
        check(shown.length > 0, `${panel.type}: ${panel.title} (${shown.length} frames)`);
        panels[panel.type](shown);
    }
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
