import type { IdempotencyKey } from '../../../application/ports/customer-repository.ts';
import type { LogPosition } from '../../../application/ports/erasures.ts';
import type { Vault } from '../../crypto/vault.ts';
import type { CustomerQueries } from '../customers/queries.ts';
import { ifSound, type LogContent, type RecordEncryption } from '../customers/record-encryption.ts';
import { toNumber } from '../customers/urns.ts';
import { compileQuery, compileWrite, type Routine } from '../driver/query.ts';
import type { Dialect } from '../schema/database.ts';
import type { Tables } from '../schema/tables.ts';

/** An entry as stored. */
export type EntryRow = Tables['erasures'];
/** A decrypted entry. */
export interface LogEntry extends EntryRow {
  readonly number: number;
  /** The number of the customer into which this one was merged; undefined for an erasure. */
  readonly into: number | undefined;
  readonly content: LogContent;
}
/** A position in a log: the sequence of an entry, and the chain value up to that entry. */
export type Position = Pick<EntryRow, 'sequence' | 'chain'>;

interface Dependencies {
  readonly dialect: Dialect;
  readonly vault: Pick<Vault, 'chainLink'>;
  readonly encryption: RecordEncryption;
  readonly queries: Pick<CustomerQueries, 'destroyKey'>;
  /** The id of the deployment: the first link of each chain is derived from it. */
  readonly deployment: string;
  /** Called for every customer whose key is destroyed, so that caches can drop the record. */
  readonly changed: (tenant: string, number: number) => void;
}

/** How many entries are read at once. */
export const pageSize = 200;

/**
 * The erasure log: an ordered, hash-chained list of erasures for each tenant, without gaps, stored with the keys. See
 * docs/decisions/0011-erasure-log.md. An appended entry never changes, so an erasure is irrevocable. (Only the
 * digests of an expired Idempotency-Key are removed.)
 */
export class ErasureLog {
  readonly #run: ReturnType<typeof logQueries>;
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#run = logQueries(dependencies.dialect);
    this.#dependencies = dependencies;
  }

  /** The position before the first entry. */
  genesis(tenant: string): Position {
    const { vault, deployment } = this.#dependencies;
    return { sequence: 0, chain: vault.chainLink(Buffer.alloc(0), 'erasure log', deployment, tenant) };
  }

  /** The chain value of an entry: a MAC, because anyone who can write to the file could recompute a plain hash. */
  #link(previous: Buffer, { sequence, hash, sealed }: Pick<EntryRow, 'sequence' | 'hash' | 'sealed'>): Buffer {
    return this.#dependencies.vault.chainLink(previous, sequence, hash, sealed);
  }

  /** Whether an entry directly follows a position: it has the next sequence, and its chain value is correct. */
  follows(previous: Position, entry: EntryRow): boolean {
    return entry.sequence === previous.sequence + 1 && this.#link(previous.chain, entry).equals(entry.chain);
  }

  /** The log's last position, as stored in the head. */
  *head(tenant: string): Routine<Position> {
    return (yield* this.#run.findHead({ tenant }))[0] ?? this.genesis(tenant);
  }

  /** The last position, locked: no other process appends to this tenant's log until the transaction ends. */
  *lockHead(tenant: string): Routine<Position> {
    const [head] = yield* this.#run.lockHead({ tenant });
    if (head !== undefined) return head;
    // A row that does not exist cannot be locked.
    yield* this.#run.insertHead({ tenant, ...this.genesis(tenant) });
    const [inserted] = yield* this.#run.lockHead({ tenant });
    return inserted as Position;
  }

  /**
   * Appends an entry and destroys the customer's data key. The caller must hold the head's lock.
   * @param sealed the encrypted content: new, or copied from an anonymized row
   */
  *append(
    tenant: string,
    number: number,
    head: Position,
    sealed: Buffer,
    key: IdempotencyKey | undefined,
  ): Routine<EntryRow> {
    const hash = this.#dependencies.encryption.hashOf(tenant, number);
    const sequence = head.sequence + 1;
    const entry: EntryRow = {
      tenant,
      sequence,
      hash,
      sealed,
      chain: this.#link(head.chain, { sequence, hash, sealed }),
      key_digest: key?.keyDigest ?? null,
      request_digest: key?.requestDigest ?? null,
      expires_at: key?.expiresAt ?? null,
    };
    yield* this.#run.insertEntry(entry);
    yield* this.#run.moveHead(entry);
    yield* this.destroyKey(tenant, number);
    return entry;
  }

  *destroyKey(tenant: string, number: number): Routine<void> {
    this.#dependencies.changed(tenant, number);
    yield* this.#dependencies.queries.destroyKey({ tenant, number });
  }

  /** The entry of a customer; undefined if the customer was never erased. */
  *find(tenant: string, number: number): Routine<LogEntry | undefined> {
    const row = yield* this.findRow(tenant, number);
    return row && this.open(row);
  }

  /**
   * The number of the customer that was neither erased nor merged, when all merges since are followed from a customer
   * into which another was merged. Undefined if that customer was erased, or its entry is damaged.
   */
  *lastOf(tenant: string, into: number): Routine<number | undefined> {
    const { number, isErased } = yield* this.endOf(tenant, into);
    return isErased ? undefined : number;
  }

  /** The number of the customer at which all merges from a customer on end, and whether that customer was erased. */
  *endOf(tenant: string, from: number): Routine<{ readonly number: number; readonly isErased: boolean }> {
    const seen = new Set<number>();
    for (let number = from; ; ) {
      seen.add(number);
      const row: EntryRow | undefined = yield* this.findRow(tenant, number);
      if (row === undefined) return { number, isErased: false };
      const into = ifSound(() => this.open(row))?.into;
      if (into === undefined || seen.has(into)) return { number, isErased: true };
      number = into;
    }
  }

  /** Like `find`, but returns the entry as stored, so that a damaged entry is found too. */
  *findRow(tenant: string, number: number): Routine<EntryRow | undefined> {
    const hash = this.#dependencies.encryption.hashOf(tenant, number);
    return (yield* this.#run.findByHash({ tenant, hash }))[0];
  }

  /**
   * The entry of the request with this Idempotency-Key. Undefined if the key has expired: its digests are then removed.
   */
  *findByKey(tenant: string, { keyDigest }: IdempotencyKey, now: number): Routine<LogEntry | undefined> {
    const [row] = yield* this.#run.findByKey({ tenant, key_digest: keyDigest });
    if (row === undefined) return undefined;
    if (Number(row.expires_at) > now) return this.open(row);
    yield* this.#run.deleteDigests({ tenant, sequence: row.sequence });
    return undefined;
  }

  /** Up to `pageSize` entries after a sequence, in order. */
  *entriesAfter(tenant: string, sequence: number): Routine<readonly EntryRow[]> {
    return yield* this.#run.entriesAfter({ tenant, sequence });
  }

  /** The chain value at a sequence; undefined if the log has no such entry. */
  *chainAt(tenant: string, sequence: number): Routine<Buffer | undefined> {
    if (sequence === 0) return this.genesis(tenant).chain;
    return (yield* this.#run.findEntry({ tenant, sequence }))[0]?.chain;
  }

  /** Whether the log contains this position. */
  *has(tenant: string, { sequence, chain }: Position): Routine<boolean> {
    return (yield* this.chainAt(tenant, sequence))?.equals(chain) ?? false;
  }

  /**
   * Moves the head to the last entry if the head is behind that entry or has another chain value. With a head that is
   * behind, the next entry would reuse a sequence. A head beyond the last entry stays, as a sign of truncation.
   */
  *repairHead(tenant: string, last: Position): Routine<void> {
    const head = yield* this.lockHead(tenant);
    const { sequence, chain } = last;
    if (head.sequence <= sequence && !isSamePosition(head, last))
      yield* this.#run.moveHead({ tenant, sequence, chain });
  }

  /** Decrypts an entry. Throws `DatabaseFailure` if it is damaged. */
  open(row: EntryRow): LogEntry {
    return entryOf(row, this.#dependencies.encryption.openEntry(row.hash, row.sealed));
  }

  /** Whether the log has digests of Idempotency-Keys that have expired. */
  *anyExpired(tenant: string, now: number): Routine<boolean> {
    return (yield* this.#run.anyExpired({ tenant, now })).length > 0;
  }

  /** Removes the digests of Idempotency-Keys that have expired. */
  *deleteExpired(tenant: string, now: number): Routine<void> {
    yield* this.#run.deleteExpired({ tenant, now });
  }
}

/** An entry and its content, decrypted. */
export function entryOf(row: EntryRow, content: LogContent): LogEntry {
  const { urn, mergedInto } = content.erasure;
  return {
    ...row,
    content,
    number: toNumber(urn) as number,
    into: mergedInto === undefined ? undefined : toNumber(mergedInto),
  };
}

/** A position in the form in which the repository returns it: the chain value as base64url. */
export const positionOf = ({ sequence, chain }: Position): LogPosition => ({
  sequence,
  chain: chain.toString('base64url'),
});

export const isSamePosition = (one: Position, other: Position): boolean =>
  one.sequence === other.sequence && one.chain.equals(other.chain);

type AtHash = { readonly tenant: string; readonly hash: Buffer };
type AtKey = { readonly tenant: string; readonly key_digest: Uint8Array };
type AtTime = { readonly tenant: string; readonly now: number };
type AtSequence = { readonly tenant: string; readonly sequence: number };

const noDigests = { key_digest: null, request_digest: null, expires_at: null };

export function logQueries({ builder, isPostgres }: Dialect) {
  const entries = builder.selectFrom('erasures').selectAll();
  const headOf = (at: { tenant: string }) =>
    builder.selectFrom('erasure_heads').select(['sequence', 'chain']).where('tenant', '=', at.tenant);
  return {
    findHead: compileQuery(headOf),
    // SQLite has one writer at a time, so its transaction is the lock.
    lockHead: compileQuery((at: { tenant: string }) => (isPostgres ? headOf(at).forUpdate() : headOf(at))),
    insertHead: compileWrite(({ tenant, sequence, chain }: Tables['erasure_heads']) =>
      builder
        .insertInto('erasure_heads')
        .values({ tenant, sequence, chain })
        .onConflict((on) => on.doNothing()),
    ),
    moveHead: compileWrite((head: Tables['erasure_heads']) =>
      builder
        .updateTable('erasure_heads')
        .set({ sequence: head.sequence, chain: head.chain })
        .where('tenant', '=', head.tenant),
    ),
    insertEntry: compileWrite((entry: EntryRow) =>
      builder.insertInto('erasures').values({
        tenant: entry.tenant,
        sequence: entry.sequence,
        hash: entry.hash,
        sealed: entry.sealed,
        chain: entry.chain,
        key_digest: entry.key_digest,
        request_digest: entry.request_digest,
        expires_at: entry.expires_at,
      }),
    ),
    findByHash: compileQuery((at: AtHash) => entries.where('tenant', '=', at.tenant).where('hash', '=', at.hash)),
    findByKey: compileQuery((at: AtKey) =>
      entries.where('tenant', '=', at.tenant).where('key_digest', '=', at.key_digest),
    ),
    findEntry: compileQuery((at: AtSequence) =>
      entries.where('tenant', '=', at.tenant).where('sequence', '=', at.sequence),
    ),
    entriesAfter: compileQuery((at: AtSequence) =>
      entries.where('tenant', '=', at.tenant).where('sequence', '>', at.sequence).orderBy('sequence').limit(pageSize),
    ),
    anyExpired: compileQuery((at: AtTime) =>
      builder
        .selectFrom('erasures')
        .select('tenant')
        .where('tenant', '=', at.tenant)
        .where('expires_at', '<=', at.now)
        .limit(1),
    ),
    deleteExpired: compileWrite((at: AtTime) =>
      builder.updateTable('erasures').set(noDigests).where('tenant', '=', at.tenant).where('expires_at', '<=', at.now),
    ),
    deleteDigests: compileWrite((at: AtSequence) =>
      builder
        .updateTable('erasures')
        .set(noDigests)
        .where('tenant', '=', at.tenant)
        .where('sequence', '=', at.sequence),
    ),
  };
}
