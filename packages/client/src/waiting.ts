import { ConnectionError } from './errors.ts';

/** The longest time that `setTimeout` takes. */
const maxMs = 2 ** 31 - 1;

/**
 * The value of a promise.
 *
 * @throws the reason of the signal once it is aborted; ConnectionError once the time limit is over
 */
export function bounded<Value>(
  promise: Promise<Value>,
  signal: AbortSignal | undefined,
  limitMs?: number,
): Promise<Value> {
  return new Promise<Value>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      reject(signal?.aborted ? signal.reason : new ConnectionError('time limit', 0));
    };
    const timer = limitMs === undefined ? undefined : setTimeout(stop, Math.min(limitMs, maxMs));
    signal?.addEventListener('abort', stop);
    promise.then(resolve, reject).finally(stop);
    if (signal?.aborted) stop();
  });
}

/** Throws the reason of the signal once it is aborted. */
export const sleep = (ms: number, signal: AbortSignal | undefined): Promise<void> =>
  bounded(new Promise<never>(() => {}), signal, ms).catch(() => signal?.throwIfAborted());
