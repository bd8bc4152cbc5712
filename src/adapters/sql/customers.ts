import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import {
  type CustomerReference,
  type CustomerRepository,
  DatabaseFailure,
  type Erasure,
  type KeptAnswer,
  keptAnswer,
  type RequestKey,
  type ResidueFinding,
  type StoredCustomer,
  type WriteAnswer,
} from '../../application/ports.ts';
import {
  type Customer,
  type CustomerContent,
  contentOf,
  identityOf,
  newCustomer,
  timestamp,
} from '../../domain/customer.ts';
import { anonymized, isAnonymized, type Remainder, remainderOf, rewrittenFields } from '../../domain/deletion.ts';
import {
  type Conflict,
  type CustomerUrn,
  customerUrn,
  firstConflict,
  type Identity,
  type TenantId,
} from '../../domain/identity.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import type { Vault } from '../vault.ts';
import { customerStatements, type Holding, type Row } from './customer-statements.ts';
import type { SqlDatabase } from './database.ts';
import type { Program } from './statement.ts';

interface Needs {
  readonly database: SqlDatabase;
  readonly vault: Vault;
  readonly world: ReferenceData;
  /** Two digits, the second part of every URN that is handed out. */
  readonly partition: string;
}

export interface SqlCustomers extends CustomerRepository {
  /**
   * Holds the ledger of erasures against the records, and erases again what a restored copy has brought back, or what
   * a crash has left half done. To be awaited before the first request. @returns how many were erased again
   */
  reconcile(): Promise<number>;
  /** How many records cannot be opened, though nobody erased them: those of a copy that does not belong to these keys. */
  countUnreadable(): Promise<number>;
}

/**
 * Customers in SQL, their personal data sealed under a key each (`vault.ts`).
 *
 * A record whose key is gone, while the ledger says that it was erased, is an erasure that is not complete: whoever
 * meets it completes it. Sealing never makes a key; only `add` does. So an update that races an erasure seals under a
 * key that is being destroyed, and writes nothing that could be read.
 */
export function sqlCustomers({ database, vault, world, partition }: Needs): SqlCustomers {
  const run = customerStatements(database.dialect);
  const numbers = urnNumbers(database, run, Number(partition) * sequencesPerPartition);

  /** A record as it is. */
  function* load(tenant: TenantId, row: Row): Program<StoredCustomer> {
    const { version } = row;
    if (row.anonymized_at !== null) return { customer: toAnonymized(row, row.anonymized_at), version };
    if (row.wrapped === null) return yield* completeErasure(tenant, row);
    const urn = toUrn(row.number);
    const owner = ownerOf(tenant, urn);
    const content = vault.open(row.wrapped, owner, row.sealed as Buffer, sealingOf(owner, version));
    const { created_at, updated_at } = row;
    const customer: Customer = {
      customerUrn: urn,
      ...(JSON.parse(content) as CustomerContent),
      createdAt: timestamp(created_at),
      updatedAt: timestamp(updated_at),
    };
    return { customer, version };
  }

  function* findRow(tenant: TenantId, by: CustomerReference): Program<Row | undefined> {
    if ('externalId' in by) {
      const externalId = vault.blindIndex(tenant, 'externalId', by.externalId);
      return (yield* run.findByExternalId({ tenant, externalId }))[0];
    }
    const number = toNumber(by.urn);
    return number === undefined ? undefined : (yield* run.findByNumber({ tenant, number }))[0];
  }

  function* find(tenant: TenantId, by: CustomerReference): Program<StoredCustomer | undefined> {
    const row = yield* findRow(tenant, by);
    return row && (yield* visible(tenant, by, row));
  }

  /** The record, unless it was erased and is asked for by an ExternalId that it no longer has. */
  function* visible(tenant: TenantId, by: CustomerReference, row: Row): Program<StoredCustomer | undefined> {
    const stored = yield* load(tenant, row);
    return 'externalId' in by && isAnonymized(stored.customer) ? undefined : stored;
  }

  /** Puts the anonymised record in place of one whose key was destroyed. */
  function* completeErasure(tenant: TenantId, row: Row): Program<StoredCustomer> {
    const { number } = row;
    const erasure = yield* findErasure(tenant, toUrn(number));
    // Never guess: a key that is lost without an erasure is a store of keys that does not belong to these records.
    if (erasure === undefined) throw new Error('the key of a record is missing, and the ledger knows of no erasure');
    const rewritten = yield* run.rewrite({ tenant, number, at: erasure.erasedAt });
    if (rewritten.length > 0) yield* run.countApplied({ count: 1 });
    // Read anew: an update may have come between, and what remains is what it has left.
    const [erased] = yield* run.findByNumber({ tenant, number });
    return yield* load(tenant, erased as Row);
  }

  /** Whether a record belongs to these keys. After `reconcile`, one that was erased holds nothing to be read. */
  function canBeRead(tenant: TenantId, { number, version, wrapped, sealed }: Row): boolean {
    if (sealed === null) return true;
    const owner = ownerOf(tenant, toUrn(number));
    try {
      return wrapped !== null && vault.open(wrapped, owner, sealed, sealingOf(owner, version)) !== '';
    } catch {
      return false;
    }
  }

  function* findErasure(tenant: TenantId, urn: CustomerUrn): Program<Erasure | undefined> {
    const hash = vault.ledgerHash(ownerOf(tenant, urn));
    const [entry] = yield* run.findErasure({ tenant, hash });
    return entry && (JSON.parse(vault.openLedger(entry.sealed, hash)) as Erasure);
  }

  /** The conflict with other customers; undefined where those that stood in the way were erased, and are now out of it. */
  function* conflict(tenant: TenantId, identity: Holding, number: number): Program<Conflict | undefined> {
    const holders: Holding[] = [];
    for (const row of yield* run.findHolders({ tenant, number, ...identity })) {
      const { customer } = yield* load(tenant, row);
      if (!isAnonymized(customer)) holders.push(row);
    }
    return firstConflict(comparable(identity), holders.map(comparable));
  }

  /** @throws NumberTaken where a record has that number, which only a store of keys that was put back can bring about */
  function* add(tenant: TenantId, content: CustomerContent, number: number, now: number): Program<WriteAnswer> {
    const holding = holdingOf(tenant, identityOf(content, world));
    const urn = toUrn(number);
    const customer = newCustomer(content, urn, now);
    const wrapped = vault.newDataKey(ownerOf(tenant, urn));
    const row = { ...holding, ...toRow(tenant, customer, 1, wrapped), number, created_at: now };
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const inserted = yield* insertWithKey({ ...row, wrapped });
      if (inserted.length > 0) return { code: 'SUCCESS', stored: { customer, version: 1 } };
      const code = yield* conflict(tenant, holding, number);
      if (code !== undefined) return { code };
      if ((yield* run.findByNumber({ tenant, number })).length > 0) throw new NumberTaken();
    }
    throw contention();
  }

  const insertWithKey =
    run.insertWithKey ??
    function* (row: Parameters<typeof run.insert>[0] & { wrapped: Buffer }) {
      const inserted = yield* run.insert(row);
      if (inserted.length > 0) yield* run.insertKey(row);
      return inserted;
    };

  function* change(
    tenant: TenantId,
    by: CustomerReference,
    decide: Parameters<CustomerRepository['change']>[2],
  ): Program<WriteAnswer> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const row = yield* findRow(tenant, by);
      const current = row && (yield* load(tenant, row));
      const decision = decide(current);
      if ('refuse' in decision) return { code: 'INVALID_REQUEST', problems: decision.refuse };
      if ('leave' in decision && decision.leave !== 'SUCCESS') return { code: decision.leave };
      if (row === undefined || current === undefined) throw new Error('a decision to write needs a record');
      if ('leave' in decision) return { code: 'SUCCESS', stored: current };

      const customer = decision.write;
      if (isAnonymized(customer)) throw new Error('a customer is anonymised by erasing it');
      const { number } = row;
      const identity = identityOf(customer, world);
      const holding = holdingOf(tenant, identity);
      // A constraint that would fire is looked for first. Where another writer comes in between, the database starts
      // this program again.
      const same = isDeepStrictEqual(identity, identityOf(current.customer, world));
      const code = same ? undefined : yield* conflict(tenant, holding, number);
      if (code !== undefined) return { code };
      const version = current.version + 1;
      const next = toRow(tenant, customer, version, row.wrapped as Buffer);
      const updated = yield* run.update({ ...holding, ...next, number, expected: current.version });
      if (updated.length > 0) return { code: 'SUCCESS', stored: { customer, version } };
    }
    throw contention();
  }

  /** Destroys a customer's key and enters that in the ledger. The record is rewritten by whoever loads it next. */
  function* shred(
    tenant: TenantId,
    by: CustomerReference,
    request: Pick<Erasure, 'keyId' | 'requestId'>,
    now: number,
  ): Program<WriteAnswer> {
    const row = yield* findRow(tenant, by);
    if (row === undefined) return { code: 'CUSTOMER_NOT_FOUND' };
    const stored = yield* load(tenant, row);
    const { customer } = stored;
    if (isAnonymized(customer)) {
      return 'externalId' in by ? { code: 'CUSTOMER_NOT_FOUND' } : { code: 'SUCCESS', stored };
    }
    const { customerUrn: urn } = customer;
    const erasure: Erasure = { urn, erasedAt: now, ...request, rewritten: rewrittenFields(customer) };
    const hash = vault.ledgerHash(ownerOf(tenant, urn));
    const sealed = vault.sealLedger(JSON.stringify(erasure), hash);
    const entered = yield* run.enterErasure({ tenant, hash, sealed });
    if (entered.length > 0) yield* run.takeSequence({ name: 'erasure', count: 1 });
    yield* run.destroyKey({ tenant, number: row.number });
    return { code: 'SUCCESS', stored };
  }

  /** The kept answer of an earlier request with this key, else that of `work`, which is then kept. */
  function* once(
    tenant: TenantId,
    now: number,
    key: RequestKey | undefined,
    work: () => Program<WriteAnswer>,
  ): Program<WriteAnswer> {
    if (key === undefined) return yield* work();
    const { digest, fingerprint, expiresAt } = key;
    yield* run.forgetAnswers({ tenant, now });
    // Claiming the key first makes another process with the same key wait for this transaction.
    const claimed = yield* run.claimKey({ tenant, digest, fingerprint, expiresAt, now });
    if (claimed.length === 0) {
      const [kept] = yield* run.findAnswer({ tenant, digest });
      if (kept?.answer == null) throw new Error('an answer that was claimed is not there');
      if (Buffer.compare(kept.fingerprint, fingerprint) !== 0) return { code: 'IDEMPOTENCY_KEY_REUSED' };
      const { code, urn } = JSON.parse(kept.answer) as KeptAnswer;
      if (code !== 'SUCCESS') return { code, repeated: true };
      const stored = yield* find(tenant, { urn: urn as CustomerUrn });
      return { code, stored: stored as StoredCustomer, repeated: true };
    }
    const answer = yield* work();
    const kept = keptAnswer(answer);
    if (kept === undefined) yield* run.releaseKey({ tenant, digest });
    else yield* run.keepAnswer({ tenant, digest, answer: JSON.stringify(kept) });
    return answer;
  }

  /** Blind indexes of an identity; an anonymised customer has none. */
  function holdingOf(tenant: TenantId, identity: Identity | undefined): Holding {
    if (identity === undefined) return noHolding;
    const { externalId, email, phoneNumber } = identity;
    return {
      external_id: vault.blindIndex(tenant, 'externalId', externalId),
      email: email === undefined ? null : vault.blindIndex(tenant, 'email', email),
      phone_number: phoneNumber === undefined ? null : vault.blindIndex(tenant, 'phoneNumber', phoneNumber),
    };
  }

  function toRow(tenant: TenantId, customer: Customer, version: number, wrapped: Buffer) {
    const owner = ownerOf(tenant, customer.customerUrn);
    return {
      tenant,
      version,
      sealed: vault.seal(wrapped, owner, JSON.stringify(contentOf(customer)), sealingOf(owner, version)),
      remainder: JSON.stringify(remainderOf(customer)),
      updated_at: Date.parse(customer.updatedAt),
      anonymized_at: null,
    };
  }

  /** Runs a write that needs no transaction by itself, but one together with what is kept for its key. */
  const write = (
    tenant: TenantId,
    now: number,
    key: RequestKey | undefined,
    work: () => Program<WriteAnswer>,
  ): Promise<WriteAnswer> =>
    key === undefined ? database.writeEach(work) : database.write(() => once(tenant, now, key, work));

  /** Whether erasures were made that are not in the records. A moment is given to those that are being made. */
  async function hasUnappliedErasures(): Promise<boolean> {
    for (let look = 0; look < 10; look += 1) {
      if (look > 0) await delay(20);
      const [made, applied] = await database.read(function* () {
        return [yield* run.sequence({ name: 'erasure' }), yield* run.applied({})];
      });
      if (made?.[0]?.last === applied?.[0]?.count) return false;
    }
    return true;
  }

  return {
    add(tenant, content, now, key) {
      const addAs = (number: number): Promise<WriteAnswer> =>
        write(tenant, now, key, () => add(tenant, content, number, now)).catch((error) => {
          if (!(error instanceof NumberTaken)) throw error;
          numbers.skip();
          return numbers.take().then(addAs);
        });
      const number = numbers.next();
      return number === undefined ? numbers.take().then(addAs) : addAs(number);
    },

    async find(tenant, by) {
      const found = await database.read(function* () {
        const row = yield* findRow(tenant, by);
        const half = row !== undefined && row.anonymized_at === null && row.wrapped === null;
        return half ? 'half erased' : row && (yield* visible(tenant, by, row));
      });
      // To complete an erasure is a write.
      return found === 'half erased' ? database.write(() => find(tenant, by)) : found;
    },

    change: (tenant, by, decide, now, key) => write(tenant, now, key, () => change(tenant, by, decide)),

    async erase(tenant, by, request, now, key) {
      const answer = await database.write(() => once(tenant, now, key, () => shred(tenant, by, request, now)));
      if (answer.code !== 'SUCCESS') return answer;
      // A repeat too: who comes back after a crash may find the work half done.
      await database.scrub('keys');
      const { customerUrn: urn } = answer.stored.customer;
      const stored = await database.write(() => find(tenant, { urn }));
      await database.scrub('data');
      return { ...answer, stored: stored as StoredCustomer };
    },

    findErasure: (tenant, urn) => database.read(() => findErasure(tenant, urn)),

    findKeptAnswers: (tenant, urn) =>
      database.read(function* () {
        const kept = (yield* run.listAnswers({ tenant })).map(({ answer, expires_at }) => ({
          ...(JSON.parse(answer as string) as KeptAnswer),
          expiresAt: expires_at,
        }));
        return kept.filter((answer) => answer.urn === urn).map(({ code, expiresAt }) => ({ code, expiresAt }));
      }),

    findResidue: (tenant, urn) =>
      database.read(function* () {
        const number = toNumber(urn) ?? -1;
        const [row] = yield* run.findByNumber({ tenant, number });
        const [holding] = yield* run.findHolding({ tenant, number });
        const left = (value: Buffer | null | undefined): number => (value == null ? 0 : 1);
        return [
          { place: 'keys: data_keys', found: left(row?.wrapped) },
          { place: 'customers: sealed record', found: left(row?.sealed) },
          { place: 'customers: index of external identifiers', found: left(holding?.external_id) },
          { place: 'customers: index of e-mail addresses', found: left(holding?.email) },
          { place: 'customers: index of phone numbers', found: left(holding?.phone_number) },
          ...unemptied('keys: log that is not emptied yet', database.isScrubbed('keys')),
          ...unemptied('customers: log that is not emptied yet', database.isScrubbed('data')),
        ];
      }),

    async reconcile() {
      const again = (await hasUnappliedErasures())
        ? await database.exclusive(function* () {
            const [ledger] = yield* run.sequence({ name: 'erasure' });
            const [applied] = yield* run.applied({});
            let again = 0;
            let last: { tenant: string; hash: Buffer } = { tenant: '', hash: Buffer.alloc(0) };
            for (;;) {
              const page = yield* run.listErasuresAfter(last);
              for (const { tenant, hash, sealed } of page) {
                const { urn, erasedAt } = JSON.parse(vault.openLedger(sealed, hash)) as Erasure;
                const number = toNumber(urn) as number;
                // A copy of the keys that was put back may hold one that was destroyed since.
                yield* run.destroyKey({ tenant, number });
                const rewritten = yield* run.rewrite({ tenant, number, at: erasedAt });
                again += rewritten.length;
              }
              const end = page.at(-1);
              if (end === undefined) break;
              last = end;
            }
            yield* run.countApplied({ count: (ledger?.last ?? 0) - (applied?.count ?? 0) });
            return again;
          })
        : 0;
      // A crash may have left a destroyed key in the log.
      await database.scrub('keys');
      return again;
    },

    countUnreadable: () =>
      database.read(function* () {
        let unreadable = 0;
        let last = { tenant: '', number: 0 };
        for (;;) {
          const page = yield* run.listAfter(last);
          for (const row of page) if (!canBeRead(row.tenant as TenantId, row)) unreadable += 1;
          const end = page.at(-1);
          if (end === undefined) return unreadable;
          last = end;
        }
      }),
  };
}

const unemptied = (place: string, scrubbed: boolean | undefined): ResidueFinding[] =>
  scrubbed === undefined ? [] : [{ place, found: scrubbed ? 0 : 1 }];

/** How often a write looks again where others have changed what it found. Each time one of the others has succeeded. */
const maxAttempts = 100;
const contention = () => new DatabaseFailure(new Error(`others came first ${maxAttempts} times`));

/** A record has the number that was to be given to a new one. */
class NumberTaken extends Error {}

/** No more than twice as many are lost when a process ends. */
const maxNumbersTaken = 128;

/**
 * Numbers for new customers, taken from the database's sequence some at a time, so that the sequence is not written with
 * every customer. Twice as many are taken each time: a process that stores little takes few.
 *
 * @param base the partition's part of the numbers
 */
function urnNumbers(database: SqlDatabase, run: ReturnType<typeof customerStatements>, base: number) {
  let taken: number[] = [];
  let count = 1;
  let taking: Promise<void> | undefined;

  function takeMore(): Promise<void> {
    taking ??= database
      .write(() => run.takeSequence({ name: 'customer', count }))
      .then(([row]) => {
        const { last } = row as { last: number };
        for (let number = last - count + 1; number <= last; number += 1) taken.push(base + number);
        count = Math.min(2 * count, maxNumbersTaken);
      })
      .finally(() => {
        taking = undefined;
      });
    return taking;
  }

  /** One that was taken already; undefined where all were handed out. */
  function next(): number | undefined {
    // In good time: who finds none must wait. What fails here fails again for whoever needs it.
    if (taken.length === count >> 2) takeMore().catch(() => undefined);
    return taken.shift();
  }

  return {
    next,
    async take(): Promise<number> {
      for (;;) {
        const number = next();
        if (number !== undefined) return number;
        await takeMore();
      }
    },
    /** Passes over the numbers that were taken. */
    skip(): void {
      taken = [];
    },
  };
}

/** Whose key it is; bound into what the key wraps and seals. */
const ownerOf = (tenant: string, urn: CustomerUrn): string => `${tenant} ${urn}`;
/** Bound into the sealing, so that an older record cannot be put in place of a newer one. */
const sealingOf = (owner: string, version: number): string => `${owner} ${version}`;

const noHolding: Holding = { external_id: null, email: null, phone_number: null };

/** Blind indexes in the words of the domain, which compares them as it would what they stand for. */
const comparable = ({ external_id, email, phone_number }: Holding): Identity => ({
  externalId: (external_id?.toString('hex') ?? '') as Identity['externalId'],
  ...(email !== null && { email: email.toString('hex') }),
  ...(phone_number !== null && { phoneNumber: phone_number.toString('hex') }),
});

/** Below 2^53 for every partition, so that the number is exact in JavaScript as in SQL. */
const sequencesPerPartition = 10 ** 13;

/** Undefined for a URN that is well-formed but beyond what we ever hand out. */
function toNumber(urn: CustomerUrn): number | undefined {
  const [, partition, sequence] = urn.split('.');
  const number = Number(sequence);
  return number < sequencesPerPartition ? Number(partition) * sequencesPerPartition + number : undefined;
}

function toUrn(number: number): CustomerUrn {
  const partition = Math.floor(number / sequencesPerPartition);
  return customerUrn(String(partition).padStart(2, '0'), number % sequencesPerPartition);
}

const toAnonymized = ({ remainder }: Row, at: number): Customer =>
  anonymized(JSON.parse(remainder) as Remainder, timestamp(at));
