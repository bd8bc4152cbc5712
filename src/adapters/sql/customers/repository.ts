import { andThen, type MaybePromise } from '../../../application/maybe-promise.ts';
import {
  type CustomerReference,
  type CustomerRepository,
  changedBy,
  type Erasure,
  type IdempotencyKey,
  type KeptAnswer,
  keptAnswer,
  type StoredCustomer,
  type WriteContext,
  type WriteResult,
} from '../../../application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import {
  isAnonymized,
  retainedFieldsOf,
  rewrittenFields,
  unknownRetainedFields,
} from '../../../domain/anonymization.ts';
import { type CustomerContent, newCustomer } from '../../../domain/customer.ts';
import {
  type Conflict,
  type CustomerUrn,
  firstConflict,
  type TenantId,
  type UniqueKeys,
} from '../../../domain/identity.ts';
import type { ReferenceData } from '../../../domain/reference-data.ts';
import type { Vault } from '../../crypto/vault.ts';
import type { SqlDatabase } from '../driver/database.ts';
import type { Routine } from '../driver/query.ts';
import { erasureLedger } from '../erasure/erasure-log.ts';
import { reconciliation } from '../erasure/recovery.ts';
import { type Reservation, reservations } from './id-blocks.ts';
import { customerStatements, forgottenAtOnce, type Holding, type Row } from './queries.ts';
import { openedRecords } from './record-cache.ts';
import { type ErasedRow, type ReadableRow, recordSeals } from './record-encryption.ts';
import { toNumber, toUrn } from './urn-numbers.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly vault: Vault;
  readonly referenceData: ReferenceData;
  /** Two digits, the second part of every URN that is handed out. */
  readonly partition: string;
}

export interface SqlCustomers extends CustomerRepository, Omit<ReturnType<typeof reconciliation>, 'finishBegun'> {}

/**
 * Customers in SQL, their personal data sealed under a key each (`record-seals.ts`). There must be one for all that is
 * written through `database`, so that it knows what it may remember (`opened-records.ts`).
 *
 * An erasure destroys the key first, in a transaction of its own that also enters it in the ledger; then the record is
 * rewritten. Where that is left undone, whoever meets the record does it. Sealing never makes a key; only `add` does, or what
 * reserves for it (`reservations.ts`). So an update that races an erasure seals under a key that is being destroyed, and
 * writes nothing that could be read.
 */
export function createSqlCustomers({ database, vault, referenceData, partition }: Dependencies): SqlCustomers {
  const opened = openedRecords(database);
  const run = announcing(customerStatements(database.dialect), opened.drop);
  const seals = recordSeals(vault, referenceData);
  const ledger = erasureLedger({ run, seals });
  const reserved = reservations({ database, seals, run, partition });

  /** A record as it is. */
  function* load(tenant: TenantId, row: Row): Routine<StoredCustomer> {
    if (isErased(row)) return seals.openErased(tenant, row);
    if (isReadable(row)) return opened.open(tenant, row) ?? seals.openRecord(tenant, row);
    const erased = yield* completeErasure(tenant, row.number);
    if (erased === undefined) throw keyIsMissing(row);
    return erased;
  }

  function* findRow(tenant: TenantId, by: CustomerReference): Routine<Row | undefined> {
    if ('externalId' in by) {
      return (yield* run.findByExternalId({ tenant, externalId: seals.indexOf(tenant, by.externalId) }))[0];
    }
    const number = toNumber(by.urn);
    return number === undefined ? undefined : (yield* run.findByNumber({ tenant, number }))[0];
  }

  function* find(tenant: TenantId, by: CustomerReference): Routine<StoredCustomer | undefined> {
    const row = yield* findRow(tenant, by);
    return row && (yield* visible(tenant, by, row));
  }

  /** The record, unless it was erased and is asked for by an ExternalId that it no longer has. */
  function* visible(tenant: TenantId, by: CustomerReference, row: Row): Routine<StoredCustomer | undefined> {
    const stored = yield* load(tenant, row);
    return 'externalId' in by && isAnonymized(stored.customer) ? undefined : stored;
  }

  /**
   * Puts the anonymised record in place of one whose key was destroyed, whatever is in it by now. Undefined where the ledger
   * knows of no erasure, or there is no such record.
   */
  function* completeErasure(tenant: TenantId, number: number): Routine<StoredCustomer | undefined> {
    const known = yield* ledger.find(tenant, number);
    if (known === undefined) return undefined;
    yield* ledger.apply(known);
    const [erased] = yield* run.findByNumber({ tenant, number });
    return erased && seals.openErased(tenant, erased as Row & ErasedRow);
  }

  /** What a record whose key was destroyed will be, once it is rewritten. */
  function* asErased(tenant: TenantId, row: Row): Routine<{ half: StoredCustomer; number: number }> {
    const { number } = row;
    const known = yield* ledger.find(tenant, number);
    if (known === undefined) throw keyIsMissing(row);
    const { remainder, erasure } = known;
    return { half: seals.erased({ ...row, version: row.version + 1 }, remainder, erasure.erasedAt), number };
  }

  /** The conflict with other customers; undefined where those that stood in the way were erased, and are now out of it. */
  function* conflict(tenant: TenantId, wanted: Holding, number: number): Routine<Conflict | undefined> {
    const holders: Holding[] = [];
    for (const row of yield* run.findHolders({ tenant, number, ...wanted })) {
      const wasErased = !isReadable(row) && (yield* completeErasure(tenant, row.number)) !== undefined;
      if (!wasErased) holders.push(row);
    }
    return firstConflict(comparable(wanted), holders.map(comparable));
  }

  /** @throws NumberTaken where a record has that number, which only keys that were put back can bring about */
  function* add(
    tenant: TenantId,
    content: CustomerContent,
    { number, wrapped: ready }: Reservation,
    { keyId, requestId, now }: WriteContext,
  ): Routine<WriteResult> {
    const customer = newCustomer(content, toUrn(number), now);
    const stored: StoredCustomer = { customer, version: 1, origin: { storedBy: { keyId, requestId } } };
    const holding = seals.holdingOf(tenant, content);
    const { dataKey: wrapped, sealed } =
      ready === undefined
        ? seals.sealNew(tenant, number, stored)
        : { dataKey: ready, sealed: seals.sealRecord(tenant, number, ready, stored) };
    const times = { created_at: now, updated_at: now, anonymized_at: null };
    const row = { tenant, number, version: 1, sealed, wrapped, ...holding, ...times };
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const inserted = yield* run.insert(row);
      if (inserted > 0) return { code: 'SUCCESS', stored };
      const code = yield* conflict(tenant, holding, number);
      if (code !== undefined) return { code };
      const place = { tenant, number };
      const hasForeignKey = ready === undefined && (yield* run.findKey(place)).length > 0;
      if (hasForeignKey || (yield* run.findByNumber(place)).length > 0) throw new NumberTaken();
    }
    throw contention();
  }

  function* change(
    tenant: TenantId,
    by: CustomerReference,
    decide: Parameters<CustomerRepository['update']>[2],
    occasion: WriteContext,
  ): Routine<WriteResult> {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const row = yield* findRow(tenant, by);
      const current = row && (yield* visible(tenant, by, row));
      const decision = decide(current);
      if ('refuse' in decision) return { code: 'INVALID_REQUEST', violations: decision.refuse };
      if ('leave' in decision && decision.leave !== 'SUCCESS') return { code: decision.leave };
      if (row === undefined || current === undefined) throw new Error('a decision to write needs a record');
      if ('leave' in decision) return { code: 'SUCCESS', stored: current };

      const customer = decision.write;
      if (!isReadable(row) || isAnonymized(customer)) throw new Error('a customer is anonymised by erasing it');
      const { number, wrapped } = row;
      const version = current.version + 1;
      const stored: StoredCustomer = { customer, version, origin: changedBy(current.origin, occasion) };
      const changed = {
        tenant,
        number,
        expected: current.version,
        version,
        sealed: seals.sealRecord(tenant, number, wrapped, stored),
        updated_at: Date.parse(customer.updatedAt),
      };
      if (claimsTheSame(customer, current.customer)) {
        // Most changes: three indexes are left alone.
        if ((yield* run.update(changed)) > 0) return { code: 'SUCCESS', stored };
        continue;
      }
      // A constraint that would fire is looked for first. Where another writer comes in between, the database starts
      // this program again.
      const holding = seals.holdingOf(tenant, customer);
      const code = yield* conflict(tenant, holding, number);
      if (code !== undefined) return { code };
      if ((yield* run.updateWithHolding({ ...changed, ...holding })) > 0) return { code: 'SUCCESS', stored };
    }
    throw contention();
  }

  /** What a record will be whose erasure is begun and not completed; undefined for any other. */
  function* findBegun(tenant: TenantId, by: CustomerReference): Routine<StoredCustomer | undefined> {
    const row = yield* findRow(tenant, by);
    return row && !isErased(row) && !isReadable(row) ? (yield* asErased(tenant, row)).half : undefined;
  }

  /** What is left to be done once the key is destroyed. */
  function* complete(tenant: TenantId, urn: CustomerUrn): Routine<StoredCustomer | undefined> {
    const row = yield* findRow(tenant, { urn });
    return row && (yield* load(tenant, row));
  }

  /** Destroys a customer's key and enters that in the ledger. The record is rewritten afterwards. */
  function* shred(
    tenant: TenantId,
    by: CustomerReference,
    { keyId, requestId, now }: WriteContext,
    key: IdempotencyKey | undefined,
  ): Routine<WriteResult> {
    const row = yield* findRow(tenant, by);
    if (row === undefined) return { code: 'CUSTOMER_NOT_FOUND' };
    const { number } = row;
    const asker = { urn: toUrn(number), keyId, requestId };
    if (isErased(row)) {
      const remainder = seals.remainderIfSound(tenant, row) ?? unknownRetainedFields;
      // Copies that were put back may have brought records that know more than the ledger.
      if (row.wrapped !== null || !(yield* ledger.has(tenant, number))) {
        yield* ledger.enter(tenant, number, { ...asker, erasedAt: row.anonymized_at }, remainder);
      }
      if ('externalId' in by) return { code: 'CUSTOMER_NOT_FOUND' };
      return { code: 'SUCCESS', stored: seals.erased(row, remainder, row.anonymized_at) };
    }
    if (!isReadable(row)) {
      const erased = yield* completeErasure(tenant, number);
      // Whoever asked for it may not have been answered, and asks again.
      if (erased !== undefined) return { code: 'SUCCESS', stored: erased };
    }
    // A record that is damaged must not stand in the way of its erasure.
    const stored = isReadable(row) ? seals.recordIfSound(tenant, row) : undefined;
    const erasure: Erasure = {
      ...asker,
      erasedAt: now,
      ...(stored && { rewritten: rewrittenFields(stored.customer) }),
    };
    const remainder = stored ? retainedFieldsOf(stored.customer) : unknownRetainedFields;
    yield* run.addPending({ tenant, number, key_digest: key?.digest ?? null, expires_at: key?.expiresAt ?? null });
    yield* ledger.enter(tenant, number, erasure, remainder);
    // Here too, so that requests which come before the record is rewritten find it as they will afterwards.
    yield* run.blankAnswers({ tenant, number });
    // What the caller is answered is read when the record has been rewritten.
    return { code: 'SUCCESS', stored: seals.erased({ ...row, version: row.version + 1 }, remainder, now) };
  }

  /** Whether a customer is named that is there, and is another than the one with that number. */
  function* namesAnother(tenant: TenantId, by: CustomerReference, number: number): Routine<boolean> {
    if ('urn' in by) return toNumber(by.urn) !== number;
    const row = yield* findRow(tenant, by);
    return row !== undefined && row.number !== number;
  }

  /**
   * The kept answer of an earlier request with this key, else that of `work`, which is then kept.
   * @param by whom the request names; undefined for one that names nobody yet
   */
  function* once(
    tenant: TenantId,
    now: number,
    key: IdempotencyKey,
    by: CustomerReference | undefined,
    work: () => Routine<WriteResult>,
  ): Routine<WriteResult> {
    const { digest, requestDigest: fingerprint, expiresAt } = key;
    // Claiming the key first makes another process with the same key wait for this transaction.
    const claimed = yield* run.claimKey({ tenant, digest, fingerprint, expiresAt, now });
    if (claimed === 0) {
      const [kept] = yield* run.findAnswer({ tenant, digest });
      if (kept?.code == null) throw new Error('an answer that was claimed is not there');
      const number = kept.number as number;
      const isOther =
        kept.fingerprint === null
          ? by !== undefined && (yield* namesAnother(tenant, by, number))
          : Buffer.compare(kept.fingerprint, fingerprint) !== 0;
      if (isOther) return { code: 'IDEMPOTENCY_KEY_REUSED' };
      const code = kept.code as KeptAnswer['code'];
      if (code !== 'SUCCESS') return { code, replayed: true };
      const stored = yield* find(tenant, { urn: toUrn(number) });
      return { code, stored: stored as StoredCustomer, replayed: true };
    }
    const answer = yield* work();
    const kept = keptAnswer(answer);
    if (kept === undefined) {
      yield* run.releaseKey({ tenant, digest });
    } else {
      const number = kept.urn === undefined ? null : (toNumber(kept.urn) as number);
      yield* run.keepAnswer({ tenant, digest, code: kept.code, number });
      if (number !== null && answer.code === 'SUCCESS' && isAnonymized(answer.stored.customer)) {
        yield* run.blankAnswers({ tenant, number });
      }
    }
    return answer;
  }

  const { finishBegun, ...reconciled } = reconciliation({ database, run, seals, ledger, partition, completeErasure });

  /** Runs a write that needs no transaction by itself, but one together with what is kept for its key. */
  const write = (
    tenant: TenantId,
    { now }: WriteContext,
    key: IdempotencyKey | undefined,
    by: CustomerReference | undefined,
    work: () => Routine<WriteResult>,
  ): Promise<WriteResult> =>
    key === undefined ? database.writeWithoutTransaction(work) : database.write(() => once(tenant, now, key, by, work));

  return {
    store(tenant, content, occasion, key) {
      const { now } = occasion;
      const reservation = reserved.next(tenant, now);
      return reservation === undefined ? reserved.take(tenant, now).then(addAs) : addAs(reservation);

      async function addAs(reservation: Reservation): Promise<WriteResult> {
        try {
          const answer = await write(tenant, occasion, key, undefined, () =>
            add(tenant, content, reservation, occasion),
          );
          const isUsed = answer.code === 'SUCCESS' && !answer.replayed;
          if (!isUsed) reserved.giveBack(tenant, reservation);
          return answer;
        } catch (error) {
          reserved.discard(tenant, reservation, error instanceof DatabaseFailure && error.mayBeStored);
          if (!(error instanceof NumberTaken)) throw error;
          reserved.passOver(tenant);
          return addAs(await reserved.take(tenant, now));
        }
      }
    },

    find(tenant, by) {
      const known = opened.recall(tenant, by);
      if (known !== undefined) return known;
      const found = database.readShort(function* () {
        const row = yield* findRow(tenant, by);
        if (row === undefined) return undefined;
        if (!isErased(row) && !isReadable(row)) return yield* asErased(tenant, row);
        const stored = yield* visible(tenant, by, row);
        if (stored !== undefined && isReadable(row) && !isErased(row)) opened.keep(tenant, row, stored);
        return stored;
      });
      return andThen(found, (found): MaybePromise<StoredCustomer | undefined> => {
        if (found === undefined || !('half' in found)) return found;
        // To complete an erasure is a write, which may be refused; what the answer is, is known all the same.
        const erased = database.write(() => completeErasure(tenant, found.number)).catch(orFailure(found.half));
        return 'externalId' in by ? erased.then(() => undefined) : erased;
      });
    },

    hasExternalId(tenant, externalId) {
      if (opened.recall(tenant, { externalId }) !== undefined) return true;
      const at = { tenant, externalId: seals.indexOf(tenant, externalId) };
      return andThen(
        database.readShort(() => run.findHeld(at)),
        ([held]): MaybePromise<boolean> => {
          if (held === undefined) return false;
          return held.pending === null || andThen(this.find(tenant, { externalId }), (found) => found !== undefined);
        },
      );
    },

    update: (tenant, by, decide, occasion, key) =>
      write(tenant, occasion, key, by, () => change(tenant, by, decide, occasion)),

    async erase(tenant, by, occasion, key) {
      const work = () =>
        key === undefined
          ? shred(tenant, by, occasion, key)
          : once(tenant, occasion.now, key, by, () => shred(tenant, by, occasion, key));
      const answer = await database.write(work).catch(async (error) => {
        // The keys are stored before the records: it may have failed between the two, with the key destroyed.
        const begun = await database.read(() => findBegun(tenant, by)).catch(() => undefined);
        if (begun === undefined) throw error;
        return database.write(work).catch(orFailure<WriteResult>({ code: 'SUCCESS', stored: begun }));
      });
      // A key of another request gets that one's answer.
      if (answer.code !== 'SUCCESS' || !isAnonymized(answer.stored.customer)) return answer;
      // A repeat too: who comes back after a crash may find the work half done.
      await database.checkpoint('keys');
      // The customer is erased already. Where this is refused (a full disk), the next touch, tidying or start does it.
      const { customerUrn: urn } = answer.stored.customer;
      const stored = await database.write(() => complete(tenant, urn)).catch(orFailure(answer.stored));
      await database.checkpoint('data');
      return { ...answer, stored: stored as StoredCustomer };
    },

    async deleteExpired(now) {
      opened.age();
      await database.retryCheckpoint();
      const any = await database.read(() => run.anyExpired({ now }));
      // Some at a time, so that others are not held up.
      while (any.length > 0 && (await database.write(() => run.forgetAnswers({ now }))) === forgottenAtOnce);
      await finishBegun();
    },

    findErasure: (tenant, urn) =>
      database.read(function* () {
        const number = toNumber(urn);
        return number === undefined ? undefined : (yield* ledger.find(tenant, number))?.erasure;
      }),

    findIdempotencyRecords: (tenant, urn) =>
      database.read(function* () {
        const kept = yield* run.listAnswers({ tenant, number: toNumber(urn) ?? -1 });
        return kept.map(({ code, expires_at }) => ({ code: String(code), expiresAt: expires_at }));
      }),

    async findResidue(tenant, urn) {
      const number = toNumber(urn) ?? -1;
      const place = { tenant, number };
      // Copies that were put aside cannot change meanwhile, the logs can: they are emptied and looked at first.
      const logs = { keys: await emptied('keys'), customers: await emptied('data') };
      const found = await database.read(function* () {
        const [row] = yield* run.findByNumber(place);
        const [holding] = yield* run.findHolding(place);
        const answers = yield* run.listAnswers(place);
        return {
          'keys: data keys': (yield* run.findKey(place)).length,
          'customers: sealed record': row !== undefined && !isErased(row) ? 1 : 0,
          'customers: index of external identifiers': holding?.external_id == null ? 0 : 1,
          'customers: index of e-mail addresses': holding?.email == null ? 0 : 1,
          'customers: index of phone numbers': holding?.phone_number == null ? 0 : 1,
          'customers: digests of requests': answers.filter(({ fingerprint }) => fingerprint !== null).length,
        };
      });
      const findings = Object.entries({
        ...found,
        ...(logs.keys !== undefined && { 'keys: log that is not emptied yet': Number(!logs.keys) }),
        ...(logs.customers !== undefined && { 'customers: log that is not emptied yet': Number(!logs.customers) }),
        ...database.searchCopies(tenant, number),
      });
      return {
        findings: findings.flatMap(([place, found]) => (found === undefined ? [] : [{ place, found }])),
        unseen: [
          ...database.unseen,
          ...findings.filter(([, found]) => found === undefined).map(([copy]) => `${copy}, which cannot be read`),
        ],
      };
    },

    ...reconciled,
  };

  /** Whether the log of a part is empty; readers of other processes are given a moment to end. */
  async function emptied(part: 'keys' | 'data'): Promise<boolean | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      const isEmpty = await database.checkpoint(part);
      if (isEmpty !== false || attempt === maxScrubs) return isEmpty;
      await new Promise((resolve) => setTimeout(resolve, scrubPauseMs));
    }
  }
}

/** The same statements, of which `written` hears when one changes a record or its key. */
function announcing(run: ReturnType<typeof customerStatements>, written: (tenant: string, number: number) => void) {
  const announced =
    <At extends { readonly tenant: string; readonly number: number }, Result>(statement: (at: At) => Routine<Result>) =>
    (at: At): Routine<Result> => {
      written(at.tenant, at.number);
      return statement(at);
    };
  return {
    ...run,
    update: announced(run.update),
    updateWithHolding: announced(run.updateWithHolding),
    rewrite: announced(run.rewrite),
    destroyKey: announced(run.destroyKey),
  };
}

const maxScrubs = 20;
const scrubPauseMs = 25;

/** How often a write looks again where others have changed what it found. Each time one of the others has succeeded. */
const maxAttempts = 100;
const contention = () => new DatabaseFailure(new Error(`others came first ${maxAttempts} times`));

/** A record has the number that was to be given to a new one. */
class NumberTaken extends Error {}

/** Never guess: keys that are lost without an erasure do not belong to these records. */
const keyIsMissing = ({ number }: Row) =>
  new DatabaseFailure(new Error(`the key of ${toUrn(number)} is missing, and the ledger knows of no erasure`));

/** A value in place of what the database refused. */
const orFailure =
  <Value>(value: Value) =>
  (error: unknown): Value => {
    if (error instanceof DatabaseFailure) return value;
    throw error;
  };

const isErased = (row: Row): row is Row & ErasedRow => row.anonymized_at !== null;
const isReadable = (row: Row): row is ReadableRow => row.wrapped !== null;

/** Blind indexes in the words of the domain, which compares them as it would what they stand for. */
const comparable = ({ external_id, email, phone_number }: Holding): UniqueKeys => ({
  externalId: (external_id?.toString('hex') ?? '') as UniqueKeys['externalId'],
  ...(email !== null && { email: email.toString('hex') }),
  ...(phone_number !== null && { phoneNumber: phone_number.toString('hex') }),
});

/** Whether two records claim the same identities, letter for letter. */
const claimsTheSame = (one: CustomerContent, other: CustomerContent): boolean =>
  one.externalIdentifier === other.externalIdentifier &&
  one.email === other.email &&
  one.phoneNumber === other.phoneNumber;
