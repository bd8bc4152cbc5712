/** The options of `run.ts`, and the names that they choose from. */
import { parseArgs } from 'node:util';

const loads = [
  'info-urn-hot',
  'info-urn-cold',
  'info-exid-hot',
  'info-exid-cold',
  'validate',
  'store',
  'update',
  'mixed',
  // Last, as the other loads need the customers.
  'delete',
] as const;
export type Load = (typeof loads)[number];
const storages = ['sqlite', 'memory', 'postgres'] as const;
export type Storage = (typeof storages)[number];
/** The servers that the service is compared with, from the fastest to the slowest. */
export const rivals = ['bare', 'limit', 'plain'] as const;
export type Rival = (typeof rivals)[number];

const { values } = parseArgs({
  options: {
    loads: { type: 'string', default: loads.join(',') },
    storages: { type: 'string', default: 'sqlite' },
    rivals: { type: 'string', default: rivals.join(',') },
    connections: { type: 'string', default: '64' },
    customers: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    warmup: { type: 'string', default: '6' },
    out: { type: 'string', default: 'bench/results.json' },
    help: { type: 'boolean' },
  },
});
if (values.help) {
  console.log(`npm run bench -- [options]
  --loads        any of ${loads.join(',')} (default: all)
  --storages     any of ${storages.join(',')} (default: sqlite)
  --rivals       servers to compare with, any of ${rivals.join(',')} (default: all; memory storage has bare only)
  --connections  for example 1,64,512 (default: 64)
  --customers    numbers of customers, for example 10000,1000000 (default: 100000); kept in bench/data for the next run
  --rounds       number of measurements that the median is taken of (default: 5)
  --seconds      of a measurement (default: 2)
  --warmup       seconds before the measurements of a load (default: 6)
  --out          file for the results as JSON (default: bench/results.json)`);
  process.exit();
}

export const options = {
  loads: chosen(values.loads, loads),
  storages: chosen(values.storages, storages),
  rivals: chosen(values.rivals, rivals),
  connections: values.connections.split(',').map(Number),
  customers: values.customers.split(',').map(Number),
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  warmup: Number(values.warmup),
  out: values.out,
};

function chosen<Value extends string>(text: string, all: readonly Value[]): Value[] {
  const words = text.split(',');
  const unknown = words.find((word) => !all.includes(word as Value));
  if (unknown !== undefined) throw new Error(`${unknown} must be one of ${all.join(', ')}`);
  return words as Value[];
}
