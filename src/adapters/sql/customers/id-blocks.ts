import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { Routine } from '../driver/query.ts';
import type { SqlDatabase } from '../schema/database.ts';
import type { CustomerQueries, Place } from './queries.ts';
import type { RecordEncryption } from './record-encryption.ts';
import type { Range, UrnSequence } from './urns.ts';

/** A free number for a new customer. */
export interface CustomerId {
  readonly number: number;
  /** The wrapped data key that SQLite stored for this number in advance. Undefined on PostgreSQL. */
  readonly wrapped?: Buffer;
}

/** Thrown by a write if another customer already has the number of the new customer. */
export class NumberTaken extends Error {}

interface Dependencies {
  readonly database: SqlDatabase;
  readonly encryption: RecordEncryption;
  readonly queries: Pick<CustomerQueries, 'insertKey' | 'destroyKey' | 'findByNumber'>;
  readonly sequence: UrnSequence;
}

/** The maximum number of tenants with a block. */
const maxBlocks = 500;
/** Twice the rows of a transaction of an import, so that the next block is stored together with rows. */
const maxBlockSize = 512;
/** How many ids a store tries before it fails. */
const maxAttempts = 5;

interface Block {
  readonly ready: CustomerId[];
  /** The size of the next block. Doubles, so that tenants with few stores take few ids. */
  size: number;
  filling?: Promise<void>;
}

/**
 * Takes ids in blocks, so that a store need not write and sync the sequence and the keys: on SQLite this saves one of
 * two rows and one of two synced files per store (docs/decisions/0010-keys-ahead-of-customers.md).
 *
 * Unused ids are lost when the process ends: this leaves gaps between URNs, and keys that encrypt nothing. The key of a
 * failed store is destroyed, because a write-ahead log may contain the record that was encrypted with it.
 */
export class IdBlocks {
  readonly #dependencies: Dependencies;
  readonly #blocks = new Map<string, Block>();
  readonly #discarded: Place[] = [];

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Runs a write with a new id, again with another one if it throws `NumberTaken`. An unused id returns to the block.
   */
  async use<Result>(
    tenant: string,
    write: (id: CustomerId) => Promise<{ readonly result: Result; readonly isUsed: boolean }>,
  ): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      const id = this.#next(tenant) ?? (await this.#wait(tenant));
      try {
        const { result, isUsed } = await write(id);
        if (!isUsed) this.#blockOf(tenant).ready.unshift(id);
        return result;
      } catch (error) {
        this.#discard(tenant, id, error instanceof DatabaseFailure && error.mayBeStored);
        if (!(error instanceof NumberTaken)) throw error;
        if (attempt === maxAttempts) throw new DatabaseFailure(error);
        // The keys were restored from a backup while this process ran, so the block's other ids may be taken too.
        this.#abandon(tenant, this.#blockOf(tenant));
        await this.#dependencies.sequence.raise(tenant);
        this.#dependencies.sequence.isDoubtful = true;
      }
    }
  }

  /** An id that is ready; undefined if there is none. */
  #next(tenant: string): CustomerId | undefined {
    const block = this.#blockOf(tenant);
    // Refill early, because a store that finds no id must wait. If the refill fails, that store repeats it (`#wait`).
    if (block.ready.length < block.size >> 1) this.#fill(tenant, block).catch(() => undefined);
    return block.ready.shift();
  }

  async #wait(tenant: string): Promise<CustomerId> {
    // Keep a reference: the map may drop this block while many tenants store at once.
    const block = this.#blockOf(tenant);
    for (;;) {
      await this.#fill(tenant, block);
      const id = block.ready.shift();
      if (id !== undefined) return id;
    }
  }

  /** Ids with keys belong to one tenant; numbers without keys are shared by all tenants. */
  #blockOf(tenant: string): Block {
    const owner = this.#dependencies.database.dialect.keysAhead ? tenant : 'all';
    const found = this.#blocks.get(owner);
    if (found !== undefined) return found;
    if (this.#blocks.size >= maxBlocks) this.#dropOldest();
    const block: Block = { ready: [], size: 1 };
    this.#blocks.set(owner, block);
    return block;
  }

  #dropOldest(): void {
    for (const [owner, block] of this.#blocks) {
      if (block.filling !== undefined) continue;
      this.#blocks.delete(owner);
      this.#abandon(owner, block);
      return;
    }
  }

  /** Empties a block. Its keys are destroyed when the next block is taken. */
  #abandon(tenant: string, { ready }: Block): void {
    const unused = ready.splice(0);
    if (this.#dependencies.database.dialect.keysAhead) {
      this.#discarded.push(...unused.map(({ number }) => ({ tenant, number })));
    }
  }

  #fill(tenant: string, block: Block): Promise<void> {
    block.filling ??= this.#takeBlock(tenant, block).finally(() => {
      delete block.filling;
    });
    return block.filling;
  }

  async #takeBlock(tenant: string, block: Block): Promise<void> {
    this.#destroyDiscarded();
    const { database, sequence } = this.#dependencies;
    // Without a needless turn: `close` waits only for writes that have begun.
    if (sequence.isDoubtful) await sequence.settle();
    block.ready.push(...(await database.write(() => this.#take(tenant, block.size))));
    block.size = Math.min(2 * block.size, maxBlockSize);
  }

  /**
   * Destroys the discarded keys, in the background. Each tenant has a transaction of its own: the database may fail for
   * one tenant only, which must not keep the others from taking ids.
   */
  #destroyDiscarded(): void {
    const byTenant = new Map<string, Place[]>();
    for (const place of this.#discarded.splice(0)) {
      const places = byTenant.get(place.tenant) ?? [];
      byTenant.set(place.tenant, places);
      places.push(place);
    }
    for (const places of byTenant.values()) this.#destroy(places);
  }

  *#take(tenant: string, size: number): Routine<CustomerId[]> {
    const { database, sequence } = this.#dependencies;
    if (!database.dialect.keysAhead) return numbersOf(yield* sequence.take(size));
    for (;;) {
      const keyed = yield* this.#storeKeys(tenant, numbersOf(yield* sequence.takeFree(tenant, size)));
      if (keyed.length > 0) return keyed;
    }
  }

  /** Stores a key for each number that has none. */
  *#storeKeys(tenant: string, ids: readonly CustomerId[]): Routine<CustomerId[]> {
    const { queries, encryption } = this.#dependencies;
    const keyed: CustomerId[] = [];
    for (const { number } of ids) {
      const wrapped = encryption.newKey(tenant, number);
      if ((yield* queries.insertKey({ tenant, number, wrapped })) > 0) keyed.push({ number, wrapped });
    }
    return keyed;
  }

  /**
   * Destroys the key of a failed store, in the background. If this fails too, it is retried when a block is next taken.
   * @param mayBeStored whether the record was possibly stored despite the error: then the key must stay
   */
  #discard(tenant: string, { number }: CustomerId, mayBeStored: boolean): void {
    const { keysAhead, keysApart } = this.#dependencies.database.dialect;
    // PostgreSQL with one database stores key and customer together, so the key was not stored either.
    if (mayBeStored || (!keysAhead && !keysApart)) return;
    this.#destroy([{ tenant, number }]);
  }

  #destroy(places: readonly Place[]): void {
    this.#dependencies.database.write(() => this.#destroyKeys(places)).catch(() => this.#discarded.push(...places));
  }

  /** Destroys keys, except where a record has the number: a failed store may have stored its record. */
  *#destroyKeys(places: readonly Place[]): Routine<void> {
    const { queries } = this.#dependencies;
    for (const place of places) {
      if ((yield* queries.findByNumber(place)).length === 0) yield* queries.destroyKey(place);
    }
  }
}

const numbersOf = ({ first, last }: Range): CustomerId[] =>
  Array.from({ length: last - first + 1 }, (_, index) => ({ number: first + index }));
