import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import type { Telemetry } from '../application/ports.ts';

const latencyBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export interface Metrics extends Telemetry {
  /** The exposition format of Prometheus, and its media type. */
  readonly contentType: string;
  render(): Promise<string>;
}

/** Counts for Prometheus, with those of the process (memory, event loop delay, garbage collection). */
export function prometheusMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const requests = new Counter({
    name: 'c2a_requests_total',
    help: 'Answered requests by route and messageCode (or HTTP status, where there is no envelope).',
    labelNames: ['route', 'code'],
    registers,
  });
  const latency = new Histogram({
    name: 'c2a_request_seconds',
    help: 'Time from the head of a request to the end of its answer.',
    labelNames: ['route'],
    buckets: latencyBuckets,
    registers,
  });
  const batch = new Histogram({
    name: 'c2a_commit_writes',
    help: 'Writes that shared one transaction.',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
    registers,
  });
  const database = new Histogram({
    name: 'c2a_database_seconds',
    help: 'Time in the database: one read, or one transaction with its sync to disk.',
    labelNames: ['operation'],
    buckets: [0.00001, 0.00005, ...latencyBuckets],
    registers,
  });
  const lost = new Counter({
    name: 'c2a_database_connections_lost_total',
    help: 'Idle connections that the database has closed.',
    registers,
  });
  const linesLost = new Counter({
    name: 'c2a_log_lines_lost_total',
    help: 'Lines of the log that could not be written.',
    registers,
  });
  const keyLookups = new Counter({
    name: 'c2a_key_lookups_total',
    help: 'Authentications whose key was known (hit) or looked up (miss).',
    labelNames: ['result'],
    registers,
  });
  // Labels are resolved once: by name, every observation would sort and join them anew.
  const read = database.labels('read');
  const commit = database.labels('commit');
  const hit = keyLookups.labels('hit');
  const miss = keyLookups.labels('miss');

  return {
    request(route, code, seconds) {
      requests.labels(route, code).inc();
      latency.labels(route).observe(seconds);
    },
    commit(writes, seconds) {
      batch.observe(writes);
      commit.observe(seconds);
    },
    read: (seconds) => read.observe(seconds),
    connectionLost: () => lost.inc(),
    logLost: (lines) => linesLost.inc(lines),
    keyLookup: (cached) => (cached ? hit : miss).inc(),
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}
