import cluster from 'node:cluster';
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Telemetry, WebhookLagSample } from '../../application/ports/telemetry.ts';
import { counters, gauge, histograms } from './counters.ts';
import { metricsOfAllWorkers } from './worker-metrics.ts';

/** In seconds. */
const latencyBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** How long measurements of webhooks are shown: then another process has measured, or nobody does. */
const measuredForMs = 60_000;

export interface Metrics extends Telemetry {
  /** The media type of `render`. */
  readonly contentType: string;
  /** All metrics in the text format of Prometheus. Rejects if another worker does not answer. */
  render(): Promise<string>;
}

/** Telemetry for Prometheus, with the metrics of the process (memory, event loop delay, garbage collection). */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const metrics = defineMetrics(registry);
  // These metrics are rendered from the start, at zero, so that `rate()` counts the first event.
  const connectionsLost = metrics.connectionsLost.of();
  const logLinesLost = metrics.logLinesLost.of();
  const commitWrites = metrics.commitWrites.of();
  const read = metrics.databaseSeconds.of('read');
  const commit = metrics.databaseSeconds.of('commit');
  const hit = metrics.apiKeyLookups.of('hit');
  const miss = metrics.apiKeyLookups.of('miss');
  const webhooks = defineWebhookGauges(registry);

  return {
    request(route, code, seconds) {
      metrics.requests.of(route, code).inc();
      metrics.requestSeconds.of(route).observe(seconds);
    },
    commit(writes, seconds) {
      commitWrites.observe(writes);
      commit.observe(seconds);
    },
    read: (seconds) => read.observe(seconds),
    connectionLost: () => connectionsLost.inc(),
    logLost: (lines) => logLinesLost.inc(lines),
    keyLookup: (cached) => (cached ? hit : miss).inc(),
    notAuthenticated: (reason) => metrics.notAuthenticated.of(reason).inc(),
    webhookDelivery: (webhook, outcome) => metrics.webhookDeliveries.of(webhook, outcome).inc(),
    webhooks,
    job: (name, succeeded) => metrics.jobRuns.of(name, succeeded ? 'success' : 'failure').inc(),
    contentType: registry.contentType,
    render: cluster.isWorker ? metricsOfAllWorkers(registry) : () => registry.metrics(),
  };
}

function defineMetrics(registry: Registry) {
  return {
    requests: counters(registry, {
      name: 'c2a_requests_total',
      help: 'Answered requests by route and messageCode, or HTTP status if the answer has no envelope.',
      labels: ['route', 'code'],
    }),
    requestSeconds: histograms(registry, {
      name: 'c2a_request_seconds',
      help: 'Time from the head of a request to the end of its answer.',
      labels: ['route'],
      bounds: latencyBounds,
    }),
    commitWrites: histograms(registry, {
      name: 'c2a_commit_writes',
      help: 'Writes that shared one transaction (group commit).',
      bounds: [1, 2, 4, 8, 16, 32, 64, 128, 256],
    }),
    databaseSeconds: histograms(registry, {
      name: 'c2a_database_seconds',
      help: 'Time in the database: one read, or one transaction with its sync to disk.',
      labels: ['operation'],
      bounds: [0.00001, 0.00005, ...latencyBounds],
    }),
    connectionsLost: counters(registry, {
      name: 'c2a_database_connections_lost_total',
      help: 'Idle database connections that were lost.',
    }),
    logLinesLost: counters(registry, {
      name: 'c2a_log_lines_lost_total',
      help: 'Log lines that could not be written.',
    }),
    apiKeyLookups: counters(registry, {
      name: 'c2a_api_key_lookups_total',
      help: 'Authentications whose API key was in the cache (hit) or looked up (miss).',
      labels: ['result'],
    }),
    webhookDeliveries: counters(registry, {
      name: 'c2a_webhook_deliveries_total',
      help: 'Attempts to deliver an event, by webhook and result (success or the kind of failure).',
      labels: ['webhook', 'result'],
    }),
    jobRuns: counters(registry, {
      name: 'c2a_job_runs_total',
      help: 'Runs of background jobs, by job and result (success or failure).',
      labels: ['job', 'result'],
    }),
    notAuthenticated: counters(registry, {
      name: 'c2a_not_authenticated_total',
      help: 'Responses with status 401, by reason (which the caller is not told).',
      labels: ['reason'],
    }),
  };
}

/** @returns takes the measurements that the gauges show */
function defineWebhookGauges(registry: Registry): Telemetry['webhooks'] {
  let shown: { readonly lags: readonly WebhookLagSample[]; readonly disabled: number; readonly at: number } | undefined;
  const current = () => (shown && performance.now() - shown.at < measuredForMs ? shown : undefined);
  const label = 'webhook';
  gauge(
    registry,
    { name: 'c2a_webhook_lag_events', help: 'Change events that are not delivered, by webhook.', label },
    () => (current()?.lags ?? []).map(({ id, events }) => [id, events]),
  );
  gauge(
    registry,
    { name: 'c2a_webhook_lag_seconds', help: 'Age of the first event that is not delivered, by webhook.', label },
    () => (current()?.lags ?? []).map(({ id, seconds }) => [id, seconds]),
  );
  gauge(registry, { name: 'c2a_webhooks_disabled', help: 'Webhooks that are disabled.' }, () => {
    const disabled = current()?.disabled;
    return disabled === undefined ? [] : [['', disabled]];
  });
  return (lags, disabled) => {
    shown = { lags, disabled, at: performance.now() };
  };
}
