/** Metrics of all workers (`serve --workers`): a scraped worker asks the primary process, which adds up all workers. */
import cluster, { type Worker } from 'node:cluster';
import { AggregatorRegistry, type Registry } from 'prom-client';

interface Question {
  readonly metricsFor: number;
}
interface Answer {
  readonly metricsOf: number;
  readonly text?: string;
  readonly error?: string;
}

/** In the primary process: answers the workers' questions. */
export function serveWorkerMetrics(): void {
  const all = new AggregatorRegistry();
  cluster.on('message', async (worker: Worker, { metricsFor }: Partial<Question>) => {
    if (metricsFor === undefined) return;
    const result = await all.clusterMetrics().then(
      (text) => ({ text }),
      ({ message }: Error) => ({ error: message }),
    );
    if (worker.isConnected()) worker.send({ metricsOf: metricsFor, ...result } satisfies Answer);
  });
}

/**
 * In a worker: a function that renders the metrics of all workers. The function rejects if a worker does not answer.
 * @param own the metrics of this worker
 */
export function metricsOfAllWorkers(own: Registry): () => Promise<string> {
  AggregatorRegistry.setRegistries(own);
  // The constructor adds the listener that answers the primary process.
  new AggregatorRegistry();
  const waiting = new Map<number, PromiseWithResolvers<string>>();
  let lastQuestion = 0;
  process.on('message', ({ metricsOf, text, error }: Partial<Answer>) => {
    const question = metricsOf === undefined ? undefined : waiting.get(metricsOf);
    if (metricsOf === undefined || question === undefined) return;
    waiting.delete(metricsOf);
    if (text === undefined) question.reject(new Error(error));
    else question.resolve(text);
  });
  return () => {
    lastQuestion += 1;
    const answer = Promise.withResolvers<string>();
    waiting.set(lastQuestion, answer);
    process.send?.({ metricsFor: lastQuestion } satisfies Question);
    return answer.promise;
  };
}
