import type { Fault, FaultedRequest } from '../../src/index.ts';

/** Faults for `createService`, one for each of the next requests. */
export function faultQueue() {
  /** The faults of the next requests. */
  const next: Fault[] = [];
  /** The requests so far. */
  const seen: FaultedRequest[] = [];
  const faults = (request: FaultedRequest): Fault | undefined => {
    seen.push(request);
    return next.shift();
  };
  return { next, seen, faults };
}
