// SPDX-License-Identifier: Apache-2.0
// Answers as the frames of Grafana's InfluxDB source: grafana_replay.js NODE_MODULES < ANSWERS.json.
//
// Follows the source's decoders: InfluxQL as series (a frame for each column beside the time, called
// measurement.column {tags}) or as a table (one frame, tags as columns), annotated CSV by its types.
// Frames are made by @grafana/data; prints for each answer what they are, for the test to compare.
'use strict';
const data = require(process.argv[2] + '/@grafana/data');

function typeOf(values) {
    const value = values.find(one => one !== null);
    return { string: 'string', boolean: 'boolean' }[typeof value] || 'number';
}

function field(name, values, labels) {
    return { name, type: name === 'time' ? 'time' : typeOf(values), values, labels, config: {} };
}

function seriesFrames(series) {
    const tags = Object.entries(series.tags || {}).map(([key, value]) => `${key}: ${value}`).join(', ');
    const columns = series.columns.map((name, at) => field(name, series.values.map(row => row[at]), series.tags));
    if (series.columns[0] !== 'time') { // the last column of TAG VALUES, the first of others
        const shown = series.columns.join() === 'key,value' ? columns[1] : columns[0];
        return [data.toDataFrame({ name: series.name, fields: [shown] })];
    }
    return columns.slice(1).map(column => data.toDataFrame({
        name: `${series.name}.${column.name}` + (tags ? ` { ${tags} }` : ''), fields: [columns[0], column],
    }));
}

function tableFrames(all) {
    if (all.length === 0) {
        return [];
    }
    const names = [all[0].columns[0], ...Object.keys(all[0].tags || {}), ...all[0].columns.slice(1)];
    const rows = all.flatMap(series => series.values.map(row =>
        [row[0], ...Object.values(series.tags || {}), ...row.slice(1)]));
    return [data.toDataFrame({ name: all[0].name, fields: names.map((name, at) =>
        field(name, rows.map(row => row[at]))) })];
}

function cells(line, delimiter) {
    const found = [];
    line.replace(new RegExp(`("(?:[^"]|"")*"|[^${delimiter}]*)(${delimiter}|$)`, 'g'), (all, cell, end, at) => {
        if (at < line.length || line.endsWith(delimiter)) {
            found.push(cell.startsWith('"') ? cell.slice(1, -1).replace(/""/g, '"') : cell);
        }
    });
    return found;
}

function convert(type, text) {
    if (text === '') {
        return null;
    }
    return { boolean: text === 'true', long: Number(text), double: Number(text) }[type] ?? text;
}

function csvFrames(text, delimiter) {
    const lines = text.split('\r\n').filter(line => line);
    const types = cells(lines[0], delimiter);
    const names = cells(lines[3], delimiter);
    const rows = lines.slice(4).map(line => cells(line, delimiter));
    if (rows.some(row => row.length !== types.length)) {
        throw new Error(`rows of other width: ${text.slice(0, 500)}`);
    }
    return [...new Set(rows.map(row => row[2]))].map(table => data.toDataFrame({
        fields: names.slice(3).map((name, at) => ({
            name, config: {},
            type: types[at + 3].startsWith('dateTime') ? 'time'
                : { string: 'string', boolean: 'boolean' }[types[at + 3]] || 'number',
            values: rows.filter(row => row[2] === table).map(row => convert(types[at + 3], row[at + 3])),
        })),
    }));
}

function framesOf(answer) {
    if (answer.form === 'flux') {
        return csvFrames(answer.body, answer.delimiter);
    }
    const series = JSON.parse(answer.body).results[0].series || [];
    return answer.form === 'table' ? tableFrames(series) : series.flatMap(seriesFrames);
}

const answers = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(answers.map(answer => framesOf(answer).map(frame => ({
    name: frame.name, rows: frame.length,
    fields: frame.fields.map(one => `${one.name}: ${one.type}`),
    first: frame.fields.map(one => one.values[0]),
})))));
