/**
 * Our own counters and histograms; prom-client only renders them and adds up the values of all workers. They replace
 * prom-client's classes, which take a tenth of a request's time: they look up, sort and join labels each time (decision
 * 0031).
 */
import type { Metric, Registry } from 'prom-client';

interface Description {
  readonly name: string;
  readonly help: string;
  /** At most two. */
  readonly labels?: readonly string[];
}
type Labels = Readonly<Record<string, string | number>>;
/** One line of a metric, in the format of prom-client. */
interface Sample {
  readonly labels: Labels;
  readonly value: number;
  readonly metricName?: string;
}
interface Cell {
  samples(name: string, labels: Labels): Sample[];
}

class Counter implements Cell {
  #count = 0;

  inc(by = 1): void {
    this.#count += by;
  }

  samples(_: string, labels: Labels): Sample[] {
    return [{ labels, value: this.#count }];
  }
}

class Histogram implements Cell {
  #sum = 0;
  /** Observations per bucket, not cumulative; the last is for values above all bounds. */
  readonly #counts: number[];
  readonly #bounds: readonly number[];

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    let index = 0;
    while (index < this.#bounds.length && value > (this.#bounds[index] as number)) index += 1;
    this.#counts[index] = (this.#counts[index] as number) + 1;
    this.#sum += value;
  }

  /** Cumulative buckets, sum and count. */
  samples(name: string, labels: Labels): Sample[] {
    let count = 0;
    const buckets = this.#counts.map((observations, index): Sample => {
      count += observations;
      return { labels: { le: this.#bounds[index] ?? '+Inf', ...labels }, value: count, metricName: `${name}_bucket` };
    });
    return [
      ...buckets,
      { labels, value: this.#sum, metricName: `${name}_sum` },
      { labels, value: count, metricName: `${name}_count` },
    ];
  }
}

/** Counters or histograms of one name: one for each combination of label values. */
class Family<Kind extends Cell> {
  readonly #cells = new Map<string, Map<string, Kind>>();
  readonly #make: () => Kind;

  constructor(registry: Registry, type: string, { name, help, labels = [] }: Description, make: () => Kind) {
    this.#make = make;
    const [first = '', second = ''] = labels;
    const values = () =>
      [...this.#cells].flatMap(([one, cells]) =>
        [...cells].flatMap(([other, cell]) =>
          cell.samples(name, { ...(first && { [first]: one }), ...(second && { [second]: other }) }),
        ),
      );
    // The part of prom-client's interface that rendering needs.
    const metric = { name, help, get: async () => ({ name, help, type, aggregator: 'sum', values: values() }) };
    registry.registerMetric(metric as unknown as Metric);
  }

  /** The counter or histogram with these label values. It is rendered from the first call on. */
  of(first = '', second = ''): Kind {
    return this.#cells.get(first)?.get(second) ?? this.#add(first, second);
  }

  #add(first: string, second: string): Kind {
    const cells = this.#cells.get(first) ?? new Map<string, Kind>();
    const cell = this.#make();
    this.#cells.set(first, cells.set(second, cell));
    return cell;
  }
}

/**
 * Values that a function returns when they are rendered. Of several workers the highest value is rendered.
 *
 * @param description `label`: the label of the samples; absent: at most one sample, without a label
 */
export function gauge(
  registry: Registry,
  { name, help, label }: { readonly name: string; readonly help: string; readonly label?: string },
  read: () => readonly (readonly [labelValue: string, value: number])[],
): void {
  const values = () => read().map(([of, value]): Sample => ({ labels: label ? { [label]: of } : {}, value }));
  const metric = { name, help, get: async () => ({ name, help, type: 'gauge', aggregator: 'max', values: values() }) };
  registry.registerMetric(metric as unknown as Metric);
}

export const counters = (registry: Registry, description: Description): Family<Counter> =>
  new Family(registry, 'counter', description, () => new Counter());

/** @param description `bounds`: the upper bounds of the buckets, ascending */
export const histograms = (
  registry: Registry,
  { bounds, ...description }: Description & { readonly bounds: readonly number[] },
): Family<Histogram> => new Family(registry, 'histogram', description, () => new Histogram(bounds));
