// SPDX-License-Identifier: Apache-2.0
// Spans by OpenTelemetry's own SDK: otlp_exporter.js NODE_MODULES PORT.
'use strict';
const [modules, port] = process.argv.slice(2);
const { OTLPTraceExporter } = require(modules + '/@opentelemetry/exporter-trace-otlp-proto');
const sdk = require(modules + '/@opentelemetry/sdk-trace-node');
const { resourceFromAttributes } = require(modules + '/@opentelemetry/resources');

async function run(compression) {
    const exporter = new OTLPTraceExporter({ url: `http://127.0.0.1:${port}/v1/traces`, compression });
    const provider = new sdk.NodeTracerProvider({
        resource: resourceFromAttributes({ 'service.name': 'exporter' }),
        spanProcessors: [new sdk.BatchSpanProcessor(exporter)],
    });
    const tracer = provider.getTracer('test');
    for (let i = 0; i < 100; i++) {
        const span = tracer.startSpan('work', { kind: 1, attributes: { 'txn.id': `${compression}-${i}`, list: ['a', 'b'] } });
        span.addEvent('it happened', { i });
        span.end();
    }
    await provider.forceFlush();
    await provider.shutdown();
}

run('none').then(() => run('gzip')).catch(error => {
    console.error(error);
    process.exit(1);
});
