import cluster from 'node:cluster';
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import type { Telemetry } from '../../application/ports/telemetry.ts';
import { metricsOfAll } from './worker-metrics.ts';

const latencyBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export interface Metrics extends Telemetry {
  /** The exposition format of Prometheus, and its media type. */
  readonly contentType: string;
  render(): Promise<string>;
}

/** Counts for Prometheus, with those of the process (memory, event loop delay, garbage collection). */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const requests = counters(registry, {
    name: 'c2a_requests_total',
    help: 'Answered requests by route and messageCode (or HTTP status, where there is no envelope).',
    labels: ['route', 'code'],
  });
  const latency = histograms(registry, {
    name: 'c2a_request_seconds',
    help: 'Time from the head of a request to the end of its answer.',
    label: 'route',
    buckets: latencyBuckets,
  });
  const batch = histograms(registry, {
    name: 'c2a_commit_writes',
    help: 'Writes that shared one transaction.',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
  });
  const database = histograms(registry, {
    name: 'c2a_database_seconds',
    help: 'Time in the database: one read, or one transaction with its sync to disk.',
    label: 'operation',
    buckets: [0.00001, 0.00005, ...latencyBuckets],
  });
  const lost = counters(registry, {
    name: 'c2a_database_connections_lost_total',
    help: 'Idle connections that the database has closed.',
  });
  const linesLost = counters(registry, {
    name: 'c2a_log_lines_lost_total',
    help: 'Lines of the log that could not be written.',
  });
  const keyLookups = counters(registry, {
    name: 'c2a_key_lookups_total',
    help: 'Authentications whose key was known (hit) or looked up (miss).',
    labels: ['result'],
  });
  const refused = counters(registry, {
    name: 'c2a_not_authenticated_total',
    help: 'Answers 401 by what was wrong, which the caller is not told.',
    labels: ['reason'],
  });

  const none = lost.of();
  const noLines = linesLost.of();
  const writes = batch.of();
  const read = database.of('read');
  const commit = database.of('commit');
  const hit = keyLookups.of('hit');
  const miss = keyLookups.of('miss');

  return {
    request(route, code, seconds) {
      requests.of(route, code).add(1);
      latency.of(route).observe(seconds);
    },
    commit(count, seconds) {
      writes.observe(count);
      commit.observe(seconds);
    },
    read: (seconds) => read.observe(seconds),
    connectionLost: () => none.add(1),
    logLost: (lines) => noLines.add(lines),
    keyLookup: (cached) => (cached ? hit : miss).add(1),
    notAuthenticated: (reason) => refused.of(reason).add(1),
    contentType: registry.contentType,
    render: cluster.isWorker ? metricsOfAll(registry) : () => registry.metrics(),
  };
}

// prom-client's own counters and histograms sort, join and look up their labels at every observation, which is more than all
// that we do besides in a request (measured). Ours only add; prom-client asks them when somebody looks.

interface About {
  readonly name: string;
  readonly help: string;
}
interface Value {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly metricName?: string;
}

function register(
  registry: Registry,
  { name, help }: About,
  type: 'counter' | 'histogram',
  values: () => Value[],
): void {
  const metric = { name, help, get: async () => ({ name, help, type, aggregator: 'sum', values: values() }) };
  registry.registerMetric(metric as unknown as Metric);
}

/** Counters by up to two labels. */
function counters(registry: Registry, { labels = [], ...about }: About & { readonly labels?: readonly string[] }) {
  const [first = '', second = ''] = labels;
  const all = new Map<string, Map<string, { count: number; add(by: number): void }>>();
  register(registry, about, 'counter', () =>
    [...all].flatMap(([one, others]) =>
      [...others].map(([other, { count }]) => ({
        labels: { ...(first && { [first]: one }), ...(second && { [second]: other }) },
        value: count,
      })),
    ),
  );
  return {
    of(one = '', other = '') {
      let others = all.get(one);
      if (others === undefined) {
        others = new Map();
        all.set(one, others);
      }
      let counter = others.get(other);
      if (counter === undefined) {
        counter = {
          count: 0,
          add(by) {
            this.count += by;
          },
        };
        others.set(other, counter);
      }
      return counter;
    },
  };
}

interface Histogram {
  readonly counts: number[];
  sum: number;
  observe(value: number): void;
}

/** Histograms by one label, or one. */
function histograms(
  registry: Registry,
  { label, buckets, ...about }: About & { readonly label?: string; readonly buckets: readonly number[] },
) {
  const all = new Map<string, Histogram>();
  register(registry, about, 'histogram', () =>
    [...all].flatMap(([name, { counts, sum }]) => {
      const labels: Record<string, string> = label === undefined ? {} : { [label]: name };
      let below = 0;
      const values = counts.map((count, index): Value => {
        below += count;
        return {
          labels: { le: buckets[index] ?? '+Inf', ...labels },
          value: below,
          metricName: `${about.name}_bucket`,
        };
      });
      return [
        ...values,
        { labels, value: sum, metricName: `${about.name}_sum` },
        { labels, value: below, metricName: `${about.name}_count` },
      ];
    }),
  );
  return {
    of(name = ''): Histogram {
      let histogram = all.get(name);
      if (histogram === undefined) {
        histogram = {
          counts: Array<number>(buckets.length + 1).fill(0),
          sum: 0,
          observe(value) {
            let index = 0;
            while (index < buckets.length && value > (buckets[index] as number)) index += 1;
            this.counts[index] = (this.counts[index] as number) + 1;
            this.sum += value;
          },
        };
        all.set(name, histogram);
      }
      return histogram;
    },
  };
}
