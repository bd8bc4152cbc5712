import { isDeepStrictEqual } from 'node:util';
import {
  type CustomerReference,
  type CustomerRepository,
  type Erasure,
  type KeptAnswer,
  keptAnswer,
  type RequestKey,
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
  const run = customerStatements(database);

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
    const erasure = yield* findErasure(tenant, toUrn(row.number));
    // Never guess: a key that is lost without an erasure is a store of keys that does not belong to these records.
    if (erasure === undefined) throw new Error('the key of a record is missing, and the ledger knows of no erasure');
    const { number } = row;
    const version = row.version + 1;
    const at = erasure.erasedAt;
    const rewritten = yield* run.update({
      ...noHolding,
      tenant,
      number,
      version,
      expected: row.version,
      sealed: null,
      remainder: row.remainder,
      updated_at: at,
      anonymized_at: at,
    });
    if (rewritten.length > 0) yield* run.countApplied({});
    return { customer: toAnonymized(row, at), version };
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

  function* add(tenant: TenantId, content: CustomerContent, now: number): Program<WriteAnswer> {
    const holding = holdingOf(tenant, identityOf(content, world));
    for (;;) {
      const [sequence] = yield* run.nextSequence({ name: 'customer' });
      const customer = newCustomer(content, customerUrn(partition, (sequence as { last: number }).last), now);
      const { customerUrn: urn } = customer;
      const number = toNumber(urn) as number;
      const wrapped = vault.newDataKey(ownerOf(tenant, urn));
      const row = { ...holding, ...toRow(tenant, customer, 1, wrapped), number, created_at: now };
      const inserted = yield* run.insert(row);
      if (inserted.length > 0) {
        yield* run.insertKey({ tenant, number, wrapped, created_at: now });
        return { code: 'SUCCESS', stored: { customer, version: 1 } };
      }
      const code = yield* conflict(tenant, holding, number);
      if (code !== undefined) return { code };
    }
  }

  function* change(
    tenant: TenantId,
    by: CustomerReference,
    decide: Parameters<CustomerRepository['change']>[2],
  ): Program<WriteAnswer> {
    for (;;) {
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
      // A constraint that would fire is looked for first: a failed UPDATE would end the transaction on PostgreSQL.
      const same = isDeepStrictEqual(identity, identityOf(current.customer, world));
      const code = same ? undefined : yield* conflict(tenant, holding, number);
      if (code !== undefined) return { code };
      const version = current.version + 1;
      const next = toRow(tenant, customer, version, row.wrapped as Buffer);
      const updated = yield* run.update({ ...holding, ...next, number, expected: current.version });
      if (updated.length > 0) return { code: 'SUCCESS', stored: { customer, version } };
    }
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
    yield* run.enterErasure({ tenant, hash, sealed: vault.sealLedger(JSON.stringify(erasure), hash) });
    yield* run.nextSequence({ name: 'erasure' });
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

  return {
    add: (tenant, content, now, key) => database.write(() => once(tenant, now, key, () => add(tenant, content, now))),

    async find(tenant, by) {
      const found = await database.read(function* () {
        const row = yield* findRow(tenant, by);
        const half = row !== undefined && row.anonymized_at === null && row.wrapped === null;
        return half ? 'half erased' : row && (yield* visible(tenant, by, row));
      });
      // To complete an erasure is a write.
      return found === 'half erased' ? database.write(() => find(tenant, by)) : found;
    },

    change: (tenant, by, decide, now, key) =>
      database.write(() => once(tenant, now, key, () => change(tenant, by, decide))),

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
          { place: 'keys: log that is not emptied yet', found: database.isScrubbed('keys') ? 0 : 1 },
          { place: 'customers: log that is not emptied yet', found: database.isScrubbed('data') ? 0 : 1 },
        ];
      }),

    async reconcile() {
      const again = await database.write(function* () {
        const [ledger] = yield* run.sequence({ name: 'erasure' });
        const [applied] = yield* run.applied({});
        if (ledger?.last === applied?.count) return 0;
        let again = 0;
        for (const { tenant, hash, sealed } of yield* run.listErasures({})) {
          const { urn } = JSON.parse(vault.openLedger(sealed, hash)) as Erasure;
          const number = toNumber(urn) as number;
          // A copy of the keys that was put back may hold one that was destroyed since.
          yield* run.destroyKey({ tenant, number });
          const [row] = yield* run.findByNumber({ tenant, number });
          if (row === undefined || row.anonymized_at !== null) continue;
          yield* completeErasure(tenant as TenantId, row);
          again += 1;
        }
        yield* run.setApplied({ count: ledger?.last ?? 0 });
        return again;
      });
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
