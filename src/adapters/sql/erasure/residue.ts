import { setTimeout as delay } from 'node:timers/promises';
import type { Residue, ResidueFinding, ResidueKind } from '../../../application/ports/erasures.ts';
import type { CustomerQueries } from '../customers/queries.ts';
import { isAnonymizedRow } from '../customers/record-encryption.ts';
import type { Routine } from '../driver/query.ts';
import type { SqlDatabase } from '../schema/database.ts';
import type { Part } from '../schema/tables.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly queries: CustomerQueries;
}

/** How often a checkpoint is retried while another process reads the write-ahead log. */
const maxCheckpoints = 20;
const checkpointPauseMs = 25;

/** Searches every place in this storage that could still contain data of an erased customer. */
export class ResidueSearch {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  async find(tenant: string, number: number): Promise<Residue> {
    const { database } = this.#dependencies;
    // First empty the write-ahead logs, so that the search sees the files in their final state.
    const logs = [...(await this.#searchLog('keys')), ...(await this.#searchLog('data'))];
    const tables = await database.read(() => this.#searchTables(tenant, number));
    const copies = [
      ...this.#searchCopies('keys_copy', 'keys', 'select count(*) from data_keys where tenant = ? and number = ?', [
        tenant,
        number,
      ]),
      ...this.#searchCopies(
        'records_copy',
        'data',
        'select count(*) from customers where erasure is null and tenant = ? and number = ?',
        [tenant, number],
      ),
    ];
    const unreadable = copies.filter(({ found }) => found === undefined);
    const readable = copies.filter((finding): finding is ResidueFinding => finding.found !== undefined);
    return {
      findings: [...tables, ...logs, ...readable],
      unseen: [...database.unseen, ...unreadable.map(({ place }) => `${place}, which cannot be read`)],
    };
  }

  *#searchTables(tenant: string, number: number): Routine<ResidueFinding[]> {
    const { queries } = this.#dependencies;
    const at = { tenant, number };
    const [row] = yield* queries.findByNumber(at);
    const [indexes] = yield* queries.findBlindIndexes(at);
    const externalIds = yield* queries.findExternalIds(at);
    const keys = yield* queries.findKey(at);
    const indexOf = (place: string, value: Buffer | null | undefined) =>
      finding('blind_index', `customers: ${place}`, value == null ? 0 : 1);
    return [
      finding('data_key', 'keys: data keys', keys.length),
      finding('record', 'customers: encrypted record', row !== undefined && !isAnonymizedRow(row) ? 1 : 0),
      finding('blind_index', 'customers: index of ExternalIds', externalIds.length),
      indexOf('index of e-mail addresses', indexes?.email),
      indexOf('index of phone numbers', indexes?.phone_number),
    ];
  }

  /** Returns no finding if the database server manages the write-ahead log (PostgreSQL). */
  async #searchLog(part: Part): Promise<ResidueFinding[]> {
    const isEmpty = await this.#emptyLog(part);
    if (isEmpty === undefined) return [];
    return part === 'keys'
      ? [finding('keys_log', 'keys: write-ahead log', Number(!isEmpty))]
      : [finding('records_log', 'customers: write-ahead log', Number(!isEmpty))];
  }

  async #emptyLog(part: Part): Promise<boolean | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      const isEmpty = await this.#dependencies.database.checkpoint(part);
      if (isEmpty !== false || attempt === maxCheckpoints) return isEmpty;
      await delay(checkpointPauseMs);
    }
  }

  /** See `SqlDatabase.searchCopies`. */
  #searchCopies(kind: ResidueKind, part: Part, sql: string, values: readonly unknown[]) {
    const counts = this.#dependencies.database.searchCopies(part, sql, values);
    return Object.entries(counts).map(([file, found]) => ({ kind, place: file, found }));
  }
}

const finding = (kind: ResidueKind, place: string, found: number): ResidueFinding => ({ kind, place, found });
