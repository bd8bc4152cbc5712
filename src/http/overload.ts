/** Overload protection: load shedding with 503, and a rate limit for each API key. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';

/** The settings of the same names in `config.ts`; sizes in bytes, times in milliseconds. */
export interface Limits {
  readonly bodyLimit: number;
  readonly headerLimit: number;
  readonly maxConnections: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  /** 0: the event loop's delay never causes load shedding. */
  readonly maxEventLoopDelayMs: number;
  readonly shutdownTimeoutMs: number;
  /** `off`, or the requests per minute of each API key. */
  readonly rateLimit: string;
}

const resolutionMs = 10;
const intervalMs = 1_000;
/** The fraction of V8's heap limit above which requests are refused. */
const maxHeapUse = 0.9;
const minuteMs = 60_000;

/**
 * Measures the process once a second until the server closes. The returned function tells whether the mean delay of the
 * event loop exceeds `maxEventLoopDelayMs`, or the heap is nearly full. (@fastify/under-pressure is not used: it also
 * reads the resident memory in a timer. If no file descriptor is left, that read throws, which ends the process.)
 */
export function watchPressure(app: FastifyInstance, { maxEventLoopDelayMs }: Limits): () => boolean {
  const maxHeapBytes = maxHeapUse * getHeapStatistics().heap_size_limit;
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  let isHigh = false;
  const timer = setInterval(() => {
    // `mean` is NaN if the loop was blocked for the whole interval. The comparison is then false: the pressure is high.
    const isOnTime = maxEventLoopDelayMs === 0 || delays.mean / 1e6 - resolutionMs <= maxEventLoopDelayMs;
    delays.reset();
    isHigh = !isOnTime || getHeapStatistics().used_heap_size > maxHeapBytes;
  }, intervalMs).unref();
  app.addHook('onClose', async () => {
    clearInterval(timer);
    delays.disable();
  });
  return () => isHigh;
}

/**
 * Answers 429 above the rate limit of an API key. It runs after authentication, so that a caller cannot use up the
 * limit of another caller. All routes registered within `app` share the limit.
 */
export async function limitRate(app: FastifyInstance, { rateLimit: limit }: Limits): Promise<void> {
  if (limit === 'off') return;
  await app.register(rateLimit, {
    max: Number(limit),
    timeWindow: minuteMs,
    // The plugin adds its hook to each route, so it runs after the hooks of the scope, such as authentication.
    hook: 'onRequest',
    keyGenerator: (request: FastifyRequest) => request.caller.keyId,
    // draft-ietf-httpapi-ratelimit-headers
    enableDraftSpec: true,
  });
}
