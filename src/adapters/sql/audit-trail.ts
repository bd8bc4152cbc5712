import { sql } from 'kysely';
import type { AuditTrail, CustomerTrail } from '../../application/ports/audit-trail.ts';
import { isAnonymizing } from '../../domain/events.ts';
import type { CustomerUrn } from '../../domain/identity.ts';
import { eventsAfter } from './change-feed.ts';
import { ifSound } from './customers/record-encryption.ts';
import { beforeAll, lastNumberUpTo, toNumber, toUrn } from './customers/urns.ts';
import { compileQuery, compileSingle, type Routine } from './driver/query.ts';
import type { appliedQueries } from './erasure/applied-positions.ts';
import { type ErasureLog, positionOf } from './erasure/erasure-log.ts';
import type { Dialect, SqlDatabase } from './schema/database.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly applied: Pick<ReturnType<typeof appliedQueries>, 'findPosition'>;
  readonly log: ErasureLog;
}

/** Customers with numbers after one, up to another one. */
type Range = { readonly tenant: string; readonly after: number; readonly until: number; readonly limit: number };

/** The number of no customer is higher. */
const highest = Number.MAX_SAFE_INTEGER;

export function auditTrailQueries(dialect: Dialect) {
  const { builder } = dialect;
  const last = (table: 'customers' | 'changes', tenant: string) =>
    builder
      .selectFrom(table)
      .select('number')
      .where('tenant', '=', tenant)
      // SQLite sorts a text that somebody has put there after every number.
      .where('number', '<=', highest)
      .orderBy('number', 'desc')
      .limit(1);
  return {
    eventsAfter: eventsAfter(dialect),
    lastPosition: compileSingle((of: { tenant: string }) =>
      builder
        .selectFrom('changes')
        .select('position')
        .where('tenant', '=', of.tenant)
        .where('position', 'is not', null)
        .$narrowType<{ position: number }>()
        .orderBy('position', 'desc')
        .limit(1),
    ),
    lastRecord: compileSingle((of: { tenant: string }) => last('customers', of.tenant)),
    lastEvent: compileSingle((of: { tenant: string }) => last('changes', of.tenant)),
    records: compileQuery((of: Range) =>
      builder
        .selectFrom('customers')
        .select(['number', 'version', 'erasure'])
        .where('tenant', '=', of.tenant)
        .where('number', '>', of.after)
        .where('number', '<=', of.until)
        .orderBy('number')
        .limit(of.limit),
    ),
    events: countEvents(dialect),
  };
}

/** Of each customer: how many events it has, and the body of that of the highest version. */
const countEvents = ({ builder }: Dialect) =>
  compileQuery((of: Range) => {
    const counted = builder
      .selectFrom('changes')
      .select((is) => [
        'number',
        is.fn.countAll<number>().as('count'),
        is.fn.min('version').as('first_version'),
        is.fn.max('version').as('last_version'),
        sql<number>`sum(case when position > 0 then 0 else 1 end)`.as('unnumbered'),
      ])
      .where('tenant', '=', of.tenant)
      .where('number', '>', of.after)
      .where('number', '<=', of.until)
      .groupBy('number')
      .orderBy('number')
      .limit(of.limit);
    return builder
      .selectFrom([counted.as('counted'), 'changes as last'])
      .select(['counted.number', 'count', 'first_version', 'last_version', 'unnumbered', 'last.body'])
      .where('last.tenant', '=', of.tenant)
      .whereRef('last.number', '=', 'counted.number')
      .whereRef('last.version', '=', 'counted.last_version')
      .orderBy('counted.number');
  });

export function createSqlAuditTrail({ database, applied, log }: Dependencies): AuditTrail {
  const { dialect, read } = database;
  const run = auditTrailQueries(dialect);

  /** The customers of a range, in order, as far as both pages reach. */
  async function customersIn(range: Range): Promise<readonly CustomerTrail[]> {
    const events = await read(() => run.events(range));
    // After the events: so a record is never older than its last event, unless it was tampered with.
    const records = await read(() => run.records(range));
    const reached = Math.min(...[events, records].map((page) => lastOf(page, range.limit)));
    const found = new Map<number, CustomerTrail>();
    for (const { number, version, erasure } of records) {
      const record = { version, isAnonymized: erasure !== null };
      found.set(number, { customerUrn: toUrn(number), record });
    }
    for (const { number, count, first_version, last_version, unnumbered, body } of events) {
      const versions = { firstVersion: first_version, lastVersion: last_version };
      const counts = { count: Number(count), unnumbered: Number(unnumbered) };
      const known = found.get(number) ?? { customerUrn: toUrn(number) };
      found.set(number, { ...known, events: { ...counts, ...versions, isAnonymizing: isAnonymizingBody(body) } });
    }
    const numbers = [...found.keys()].filter((number) => number <= reached).sort((one, other) => one - other);
    return numbers.map((number) => found.get(number) as CustomerTrail);
  }

  return {
    async events(tenant, after, limit) {
      const rows = await read(() => run.eventsAfter({ tenant, after, limit }));
      return rows.map(({ number, ...event }) => ({ ...event, customerUrn: toUrn(number) }));
    },
    async lastPosition(tenant) {
      const [last] = await read(() => run.lastPosition({ tenant }));
      return last?.position ?? 0;
    },
    async lastCustomer(tenant) {
      const [record] = await read(() => run.lastRecord({ tenant }));
      const [event] = await read(() => run.lastEvent({ tenant }));
      const number = Math.max(record?.number ?? beforeAll, event?.number ?? beforeAll);
      return number === beforeAll ? undefined : toUrn(number);
    },
    customers(tenant, after, until, limit) {
      const from = after === undefined ? beforeAll : lastNumberUpTo(after);
      return customersIn({ tenant, after: from, until: lastNumberUpTo(until), limit });
    },
    async customer(tenant, urn) {
      const number = toNumber(urn);
      if (number === undefined) return undefined;
      const [customer] = await customersIn({ tenant, after: number - 1, until: number, limit: 2 });
      return customer;
    },
    async lastErasure(tenant) {
      const head = await read(() => log.head(tenant));
      return head.sequence === 0 ? undefined : positionOf(head);
    },
    async finishedErasures(tenant) {
      const [position] = await read(() => applied.findPosition({ tenant }));
      return position?.sequence ?? 0;
    },
    async erasures(tenant, after, limit) {
      const rows = await read(() => log.entriesAfter(tenant, after));
      return rows.slice(0, limit).map((row) => {
        const entry = ifSound(() => log.open(row));
        return { ...positionOf(row), ...(entry !== undefined && { customerUrn: toUrn(entry.number) }) };
      });
    },
    hasErasureAt: (tenant, { sequence, chain }) =>
      read(() => log.has(tenant, { sequence, chain: Buffer.from(chain, 'base64url') })),
    hasErasure: (tenant, urn) => read(() => hasEntry(tenant, urn)),
  };

  function* hasEntry(tenant: string, urn: CustomerUrn): Routine<boolean> {
    const number = toNumber(urn);
    return number !== undefined && (yield* log.findRow(tenant, number)) !== undefined;
  }
}

/** The number up to which a page has all customers. */
const lastOf = (page: readonly { readonly number: number }[], limit: number): number =>
  page.length < limit ? highest : (page.at(-1)?.number ?? highest);

function isAnonymizingBody(body: string): boolean {
  try {
    return isAnonymizing(JSON.parse(body)?.type);
  } catch {
    // A damaged body says nothing.
    return false;
  }
}
