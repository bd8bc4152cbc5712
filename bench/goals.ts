/** What the service must reach, and whether it does. */
import type { Row } from './measuring.ts';
import type { Load, Rival, Storage } from './options.ts';

type Goals = Partial<Record<Load, Partial<Record<Rival, number>>>>;

const againstDatabase: Goals = {
  'info-urn-cold': { limit: 0.6 },
  'info-exid-cold': { limit: 0.6 },
  store: { limit: 0.8, plain: 2 },
  mixed: { limit: 0.75 },
};
/** The lowest ratios of the service's rate to that of a rival, at 64 connections. */
const goals: Partial<Record<Storage, Goals>> = {
  sqlite: {
    ...againstDatabase,
    'info-urn-hot': { bare: 0.75 },
    'info-exid-hot': { bare: 0.75 },
    validate: { bare: 0.75 },
  },
  // Without a record cache, every request asks the database: so the limit takes the place of the bare Fastify.
  postgres: { ...againstDatabase, validate: { limit: 0.75 } },
};
const connectionsOfGoals = 64;
/** The service's p99 as a multiple of the limit's. */
const highestP99 = 2;
/** How much of its ratio to the limit `store` may lose from the smallest number of customers to the largest. */
const highestLoss = 0.1;

export interface Verdict {
  readonly goal: string;
  readonly isMet: boolean;
}

/** A verdict for each goal of a line of the table. */
export function verdictsOf({ storage, load, connections, ratios, figures }: Row): Verdict[] {
  if (connections !== connectionsOfGoals) return [];
  const ofRates = Object.entries(goals[storage]?.[load] ?? {}).flatMap(([rival, lowest]) => {
    const ratio = ratios[rival as Rival];
    return ratio === undefined ? [] : [{ goal: `${rival} ≥ ${lowest}`, isMet: ratio >= lowest }];
  });
  const { limit, service } = figures;
  if (limit === undefined) return ofRates;
  return [...ofRates, { goal: `p99 ≤ ${highestP99} × limit`, isMet: service.p99 <= highestP99 * limit.p99 }];
}

/** The loss of `store`, from the smallest to the largest number of customers of a storage; for one number, no verdict. */
export function growthVerdicts(rows: readonly Row[]): Verdict[] {
  const stores = rows.filter(
    ({ load, connections, ratios }) =>
      load === 'store' && connections === connectionsOfGoals && ratios.limit !== undefined,
  );
  return [...new Set(stores.map(({ storage }) => storage))].flatMap((storage) => {
    const sorted = stores
      .filter((row) => row.storage === storage)
      .sort((one, other) => one.customers - other.customers);
    const [first, last] = [sorted[0], sorted.at(-1)];
    if (first === undefined || last === undefined || first.customers === last.customers) return [];
    const loss = (first.ratios.limit ?? 0) - (last.ratios.limit ?? 0);
    const sizes = `${first.customers} to ${last.customers} customers`;
    return [
      {
        goal: `store of ${storage} loses ${loss.toFixed(2)} of its ratio to the limit from ${sizes}, < ${highestLoss}`,
        isMet: loss < highestLoss,
      },
    ];
  });
}
