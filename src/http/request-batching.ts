/**
 * An optimization, separate from the rest: handles the requests of one event-loop turn together, phase by phase. First
 * all are read, then all are handled, then all responses are sent. Measured (docs/decisions/0035-optimizations-kept.md):
 * this halves the CPU time of a request under load. Without batching, the code and data of all phases together exceed the
 * CPU caches, and each separate write to a socket has to wake a sleeping reader.
 */
import type { FastifyInstance } from 'fastify';

type Continue = () => void;

/** Adds the two hooks that delay requests until the end of the turn. */
export function batchRequests(app: FastifyInstance): void {
  let read: Continue[] = [];
  let handled: Continue[] = [];
  let isScheduled = false;

  function runBatch(): void {
    try {
      const toHandle = read;
      read = [];
      for (const next of toHandle) next();
      // Includes the requests of `toHandle` that were handled synchronously.
      const toSend = handled;
      handled = [];
      for (const next of toSend) next();
    } finally {
      isScheduled = false;
      if (read.length > 0 || handled.length > 0) schedule();
    }
  }
  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(runBatch);
  }

  // Before the body is parsed: by the end of the turn nearly every body has arrived (see json-body.ts).
  app.addHook('preParsing', (_request, _reply, _payload, done) => {
    read.push(done);
    schedule();
  });
  app.addHook('onSend', (_request, _reply, _payload, done) => {
    handled.push(done);
    schedule();
  });
}
