import type { Caller } from '../authentication.ts';
import type { CustomerReference, StoredCustomer, SyncRepository, WriteResult } from '../ports/customer-repository.ts';
import { decideSync } from '../synchronization.ts';
import { erasureContext, type WriteConditions, type WriteSettings, writeContext } from '../write-requests.ts';
import type { SyncRow, WriteRequest } from './requests.ts';

/** Who imports: the tenant, and the id that change events name as their actor. */
export type Importer = Pick<Caller, 'tenant' | 'keyId'>;

interface Dependencies extends WriteSettings {
  /** The stored customers, or a dry run over them. */
  readonly target: SyncRepository;
}

/** Carries out the rows of one import. */
export class RowWriter {
  readonly #dependencies: Dependencies;
  readonly #importer: Importer;
  readonly #conditions: Pick<WriteConditions, 'requestId'>;

  constructor(dependencies: Dependencies, importer: Importer, conditions: Pick<WriteConditions, 'requestId'>) {
    this.#dependencies = dependencies;
    this.#importer = importer;
    this.#conditions = conditions;
  }

  async find(by: CustomerReference): Promise<StoredCustomer | undefined> {
    return this.#dependencies.target.find(this.#importer.tenant.id, by);
  }

  /** Carries out one row. */
  async write(request: WriteRequest): Promise<WriteResult> {
    const { id } = this.#importer.tenant;
    const { target } = this.#dependencies;
    if (request.kind === 'delete') {
      const { by, revision } = request;
      return target.erase(id, by, erasureContext(this.#dependencies, this.#importer, this.#conditions, revision));
    }
    const { by, decide, context } = this.#syncOf(request);
    return target.sync(id, by, decide, context);
  }

  /** Carries out rows that free values for each other: all of them, or none; see `CustomerRepository.exchange`. */
  async exchange(rows: readonly SyncRow[]) {
    const changes = rows.map((row) => this.#syncOf(row));
    return this.#dependencies.target.exchange(this.#importer.tenant.id, changes);
  }

  #syncOf({ by, content }: SyncRow) {
    const context = writeContext(this.#dependencies, this.#importer, this.#conditions, content.sourceRevision);
    return { by, decide: decideSync({ by, content }, undefined, context.now), context };
  }
}
