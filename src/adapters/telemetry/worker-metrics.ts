/** Metrics of all workers (`serve --workers`), whichever of them is asked: it asks the process that watches over them. */
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

/** In the process that watches over workers: gathers what they have counted for whoever of them asks. */
export function gatherMetrics(): void {
  const all = new AggregatorRegistry();
  cluster.on('message', async (worker: Worker, { metricsFor }: Partial<Question>) => {
    if (metricsFor === undefined) return;
    const told: Omit<Answer, 'metricsOf'> = await all.clusterMetrics().then(
      (text) => ({ text }),
      ({ message }: Error) => ({ error: message }),
    );
    if (worker.isConnected()) worker.send({ metricsOf: metricsFor, ...told } satisfies Answer);
  });
}

/**
 * In a worker: gives the metrics of all workers, in the exposition format of Prometheus. Rejects where another one does not
 * answer. @param own what this worker counts
 */
export function metricsOfAll(own: Registry): () => Promise<string> {
  AggregatorRegistry.setRegistries(own);
  // Answers when it is asked for its own.
  new AggregatorRegistry();
  const waiting = new Map<number, { resolve(text: string): void; reject(error: Error): void }>();
  let asked = 0;
  process.on('message', ({ metricsOf, text, error }: Partial<Answer>) => {
    const answer = metricsOf === undefined ? undefined : waiting.get(metricsOf);
    if (metricsOf === undefined || answer === undefined) return;
    waiting.delete(metricsOf);
    if (text === undefined) answer.reject(new Error(error));
    else answer.resolve(text);
  });
  return () =>
    new Promise((resolve, reject) => {
      asked += 1;
      waiting.set(asked, { resolve, reject });
      process.send?.({ metricsFor: asked } satisfies Question);
    });
}
