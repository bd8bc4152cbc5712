import type { FastifyInstance } from 'fastify';

type Go = () => void;

/**
 * Lets what comes in one turn of the event loop go through the stages of a request together: first all are read, then all
 * are handled, then all answers leave. To finish one request after the other would cost twice as much where many come
 * (measured, docs/performance.md): the code and data of a stage no longer fit in the processor's caches beside those of the
 * others, and each write to a socket wakes a reader that has fallen asleep meanwhile.
 */
export function batchRequests(app: FastifyInstance): void {
  let read: Go[] = [];
  let ready: Go[] = [];
  let isScheduled = false;

  function run(): void {
    try {
      const handle = read;
      read = [];
      for (const go of handle) go();
      // With those that were handled at once.
      const leave = ready;
      ready = [];
      for (const go of leave) go();
    } finally {
      isScheduled = false;
      if (read.length > 0 || ready.length > 0) schedule();
    }
  }
  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(run);
  }

  // Before the body is parsed: by then nearly every one has come as a whole (`body.ts`).
  app.addHook('preParsing', (_request, _reply, _payload, done) => {
    read.push(done);
    schedule();
  });
  app.addHook('onSend', (_request, _reply, _payload, done) => {
    ready.push(done);
    schedule();
  });
}
