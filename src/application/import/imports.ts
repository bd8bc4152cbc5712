import { choice, readObject } from '../../domain/field-schema.ts';
import type { TenantId } from '../../domain/identity.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import { violation } from '../../domain/violations.ts';
import { DryRun } from '../dry-run.ts';
import { invalid, type Refusal, refusal } from '../outcome.ts';
import type { CustomerRepository, SyncRepository } from '../ports/customer-repository.ts';
import type { ScratchRepository } from '../ports/scratch-repository.ts';
import type { WriteSettings } from '../write-requests.ts';
import { type ImportAnswer, withoutMadeUp } from './answers.ts';
import { type ImportOptions, ImportRun } from './import-run.ts';
import type { Importer } from './row-writer.ts';
import type { ImportRow } from './rows.ts';
import { Turns } from './turns.ts';

/** The query of an import. */
export const importFields = {
  dryRun: { ...choice(['true', 'false'], 'Whether nothing is stored.'), fallback: 'false' },
  complete: {
    ...choice(['true', 'false'], 'Whether the file has all customers: others are then reported as extra.'),
    fallback: 'false',
  },
} as const;

interface Dependencies extends WriteSettings {
  readonly repository: CustomerRepository;
  readonly referenceData: ReferenceData;
  readonly openScratch: () => ScratchRepository;
  /** How many imports of one tenant may run at once in this process. */
  readonly maxImports: number;
}

interface ImportRequestOptions extends Omit<ImportOptions, 'complete' | 'reasonToStop'> {
  /** Whether the caller may still import: an API key can be revoked meanwhile. */
  readonly isAllowed: () => Promise<boolean>;
}

type RunOptions = ImportRequestOptions & Pick<ImportOptions, 'complete'>;

/** An import that may begin. */
export interface AcceptedImport {
  /** Carries out the rows; see {@link ImportRun.run}. */
  answers(rows: AsyncIterable<readonly ImportRow[]>): AsyncIterable<readonly ImportAnswer[]>;
  /** Gives the place of the import to another one. Must be called once the answers are sent, or will not be read. */
  release(): void;
}

/** Imports: any number of syncs and erasures in one request. */
export class Imports {
  readonly #dependencies: Dependencies;
  readonly #running = new Map<TenantId, number>();
  readonly #turns = new Turns();
  #isStopping = false;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Accepts an import. Refusals: INVALID_REQUEST; TOO_MANY_REQUESTS, if as many of the tenant run already.
   *
   * @param query the members of {@link importFields} as text; any other member is a violation, as a misspelt `dryRun`
   *   would store the rows
   */
  accept(
    caller: Importer,
    query: Readonly<Record<string, unknown>>,
    given: ImportRequestOptions,
  ): AcceptedImport | Refusal {
    const empty = Object.keys(importFields).filter((name) => query[name] === '');
    const parsed = readObject(importFields, query, this.#dependencies.referenceData);
    if (empty.length > 0)
      return invalid(empty.map((name) => violation(name, 'invalid_value', 'Must be true or false.')));
    if (!parsed.ok) return invalid(parsed.violations);
    const options = { ...given, complete: parsed.value.complete === 'true' };
    const isDryRun = parsed.value.dryRun === 'true';
    const { id } = caller.tenant;
    const running = this.#running.get(id) ?? 0;
    if (running >= this.#dependencies.maxImports) return refusal('TOO_MANY_REQUESTS');
    this.#running.set(id, running + 1);
    let isReleased = false;
    return {
      answers: (rows) => (isDryRun ? this.#dryRun(caller, options, rows) : this.#run(caller, options, rows)),
      release: () => {
        if (isReleased) return;
        isReleased = true;
        const left = (this.#running.get(id) ?? 1) - 1;
        if (left === 0) this.#running.delete(id);
        else this.#running.set(id, left);
      },
    };
  }

  /** Makes imports leave half of the time to other requests. @param count the number of requests that were received */
  giveWayTo(count: () => number): void {
    this.#turns.requestCount = count;
  }

  /** Ends all imports after the rows that they are carrying out. */
  stop(): void {
    this.#isStopping = true;
  }

  #run(caller: Importer, options: RunOptions, rows: AsyncIterable<readonly ImportRow[]>, target?: SyncRepository) {
    const { repository } = this.#dependencies;
    const reasonToStop = this.#reasonToStop(options);
    const dependencies = { ...this.#dependencies, target: target ?? repository, turns: this.#turns };
    return new ImportRun(dependencies, caller, { ...options, reasonToStop }).run(rows);
  }

  async *#dryRun(caller: Importer, options: RunOptions, rows: AsyncIterable<readonly ImportRow[]>) {
    const scratch = this.#dependencies.openScratch();
    const target = new DryRun({ ...this.#dependencies, scratch });
    try {
      for await (const answers of this.#run(caller, options, rows, target)) {
        yield answers.map((answer) => ('line' in answer ? withoutMadeUp(answer, scratch.isMadeUp) : answer));
      }
    } finally {
      scratch.close();
    }
  }

  #reasonToStop({ isAllowed }: RunOptions): ImportOptions['reasonToStop'] {
    return async () => {
      if (this.#isStopping) return refusal('SERVICE_UNAVAILABLE');
      return (await isAllowed()) ? undefined : refusal('FORBIDDEN');
    };
  }
}
