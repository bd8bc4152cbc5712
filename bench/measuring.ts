/** Loads the servers in turns, and takes medians over the rounds. */
import { readFileSync } from 'node:fs';
import { type Load, options, type Rival, rivals } from './options.ts';
import { at, pinned, run, type Server, type Service } from './servers.ts';

/** The results that `load.lua` prints. Times in milliseconds. */
interface Measured {
  readonly requests: number;
  readonly seconds: number;
  readonly refused: number;
  readonly broken: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

let runs = 0;
/** Customers that earlier measurements deleted, by the server's URL. */
const deleted = new Map<string, number>();

async function measure(
  target: Server,
  service: Service,
  load: Load,
  connections: number,
  seconds = options.seconds,
): Promise<Measured> {
  runs += 1;
  const first = 1 + (deleted.get(target.url) ?? 0);
  const { 'x-tn': tenant, 'x-api-key': key } = service.credentials;
  const script = [load, tenant, key, first, service.customers, `${Date.now().toString(36)}${runs}`];
  const words = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', at('load.lua'), target.url, '--', ...script];
  const text = await run(pinned(1, ['wrk', ...words.map(String)]));
  const measured = JSON.parse(text.trim().split('\n').at(-1) as string) as Measured;
  if (load === 'delete') deleted.set(target.url, first + measured.requests);
  return measured;
}

/** Writes and transactions since the start of the service. */
async function commits({ url }: Server): Promise<{ writes: number; commits: number }> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const read = (name: string) => Number(new RegExp(`^c2a_commit_writes_${name} (.*)$`, 'm').exec(text)?.[1] ?? 0);
  return { writes: read('sum'), commits: read('count') };
}

/** Resident memory of a process, in megabytes. */
const residentMb = ({ pid }: Server): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((one, other) => one - other);
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2;
};
const rateOf = ({ requests, seconds }: Measured): number => requests / seconds;

/** Medians of one server. Times in milliseconds. */
function figuresOf(measured: readonly Measured[]) {
  const of = (read: (one: Measured) => number) => median(measured.map(read));
  return {
    rate: of(rateOf),
    p50: of(({ p50 }) => p50),
    p99: of(({ p99 }) => p99),
    p999: of(({ p999 }) => p999),
    /** `refused`: answers other than 2xx; `broken`: connections that failed. */
    refused: measured.reduce((sum, { refused }) => sum + refused, 0),
    broken: measured.reduce((sum, { broken }) => sum + broken, 0),
  };
}
export type Figures = ReturnType<typeof figuresOf>;

export type Rivals = Partial<Record<Rival, Server>>;

/** Measures a load on the service and its rivals: one line of the table. */
export async function compare(started: Rivals, service: Service, load: Load, connections: number) {
  const compared = rivals.filter((rival) => started[rival] !== undefined);
  const servers = { ...started, service } as Record<Rival | 'service', Server>;
  const sides = [...compared, 'service'] as const;
  const rounds = new Map(sides.map((side) => [side, [] as Measured[]]));
  const roundsOf = (side: Rival | 'service') => rounds.get(side) as Measured[];
  // V8 compiles the hot functions meanwhile.
  for (const side of sides) await measure(servers[side], service, load, connections, options.warmup);
  const before = await commits(service);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const side of sides) roundsOf(side).push(await measure(servers[side], service, load, connections));
  }
  const after = await commits(service);
  const transactions = after.commits - before.commits;
  const seconds = roundsOf('service').reduce((sum, round) => sum + round.seconds, 0);
  /** The median of the ratios of the rounds. */
  const ratioTo = (rival: Rival) =>
    median(roundsOf('service').map((measured, round) => rateOf(measured) / rateOf(roundsOf(rival)[round] as Measured)));
  return {
    storage: service.storage,
    customers: service.customers,
    load,
    connections,
    figures: Object.fromEntries(sides.map((side) => [side, figuresOf(roundsOf(side))])) as Partial<
      Record<Rival, Figures>
    > & { service: Figures },
    ratios: Object.fromEntries(compared.map((rival) => [rival, ratioTo(rival)])) as Partial<Record<Rival, number>>,
    residentMb: residentMb(service),
    ...(transactions > 0 && {
      commitsPerSecond: transactions / seconds,
      meanBatch: (after.writes - before.writes) / transactions,
    }),
  };
}
export type Row = Awaited<ReturnType<typeof compare>>;
