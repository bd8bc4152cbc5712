/** Mistakes that are planted in the erasure log: `model.test.ts` would find each of them. */
import t from 'tap';
import { erasureParts } from '../../src/adapters/sql/customer-storage.ts';
import { changeWriter } from '../../src/adapters/sql/customers/change-writer.ts';
import type { Routine } from '../../src/adapters/sql/driver/query.ts';
import { type ErasureLog, isSamePosition } from '../../src/adapters/sql/erasure/erasure-log.ts';
import type { Dialect, SqlDatabase } from '../../src/adapters/sql/schema/database.ts';
import { type Migrations, migrations } from '../../src/adapters/sql/schema/migrations.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { newCounts, Run, Violation } from './support/model.ts';
import { type Parts, places } from './support/places.ts';
import { randomFrom } from './support/random.ts';

const { ErasureLog: Log, Eraser, Recovery, appliedQueries } = erasureParts;
type RecoveryDependencies = ConstructorParameters<typeof Recovery>[0];
type EraserDependencies = ConstructorParameters<typeof Eraser>[0];

/** Recovery over another database than the rest. */
const recoveryOver = (change: (database: SqlDatabase) => Partial<SqlDatabase>) =>
  class extends Recovery {
    constructor(dependencies: RecoveryDependencies) {
      const { database } = dependencies;
      super({ ...dependencies, database: { ...database, ...change(database) } });
    }
  };

/** A query that is not run, and its result. */
const answering = <Result>(result: Result) =>
  function* (): Routine<Result> {
    yield* [];
    return result;
  };
type Applied = ReturnType<typeof appliedQueries>;
const appliedWith =
  (change: (applied: Applied) => Partial<Applied>): typeof appliedQueries =>
  (dialect: Dialect) => {
    const applied = appliedQueries(dialect);
    return { ...applied, ...change(applied) };
  };

/** Looks for an earlier entry before it locks the head, and not again under the lock. */
class LogWithoutLook extends Log {
  #isLocked = false;
  override *lockHead(tenant: string) {
    const head = yield* super.lockHead(tenant);
    this.#isLocked = true;
    return head;
  }
  override *find(tenant: string, number: number) {
    const found = yield* super.find(tenant, number);
    return this.#isLocked ? undefined : found;
  }
  override *append(...entry: Parameters<ErasureLog['append']>) {
    this.#isLocked = false;
    return yield* super.append(...entry);
  }
}

/** Does not compare the requests under one Idempotency-Key. */
class LogWithoutRequests extends Log {
  override *findByKey(...[tenant, key, now]: Parameters<ErasureLog['findByKey']>) {
    const found = yield* super.findByKey(tenant, key, now);
    return found && { ...found, request_digest: key.requestDigest };
  }
}

/** Appends no digests. */
class LogWithoutDigests extends Log {
  override append(...[tenant, number, head, sealed]: Parameters<ErasureLog['append']>) {
    return super.append(tenant, number, head, sealed, undefined);
  }
}

/** Keeps the data key. */
class LogThatKeepsKeys extends Log {
  override *destroyKey(): Routine<void> {}
}

/** Moves the position in the transaction that finishes an erasure, before the write-ahead logs are empty. */
class EraserThatMovesThePosition extends Eraser {
  readonly #dependencies: EraserDependencies;
  constructor(dependencies: EraserDependencies) {
    super(dependencies);
    this.#dependencies = dependencies;
  }
  override *finish(...[entry]: Parameters<InstanceType<typeof Eraser>['finish']>): Routine<boolean> {
    const { applied, log } = this.#dependencies;
    const isAnonymized = yield* super.finish(entry);
    const { tenant, sequence, chain } = entry;
    const [position = log.genesis(tenant)] = yield* applied.findPosition({ tenant });
    const previous = yield* log.chainAt(tenant, sequence - 1);
    if (previous === undefined || !isSamePosition(position, { sequence: sequence - 1, chain: previous }))
      return isAnonymized;
    const { sequence: fromSequence, chain: fromChain } = position;
    const moved = yield* applied.movePosition({ tenant, sequence, chain, fromSequence, fromChain });
    if (moved === 0) yield* applied.insertPosition({ tenant, sequence, chain });
    return isAnonymized;
  }
}

/** The tables without the constraint that refuses a second entry of a customer. */
const withoutUniqueHash: Migrations = {
  ...migrations,
  keys: migrations.keys.map((migration) => ({
    ...migration,
    statements: (dialect: Dialect) =>
      migration.statements(dialect).map(({ sql, ...rest }) => ({
        ...rest,
        sql: sql.replace(/, constraint "erasures_hash" unique \([^)]*\)/, ''),
      })),
  })),
};

interface Mistake {
  readonly parts: Partial<Parts>;
  readonly migrations?: Migrations;
  /** What the model says of it. */
  readonly found: RegExp;
  /** See the options of `Run`. */
  readonly refused?: number;
  /** Where to begin, so that the mistake is found soon. */
  readonly firstSeed?: number;
}

const mistakes: Record<string, Mistake> = {
  'the highest sequence of the rows is not compared': {
    parts: {
      appliedQueries: appliedWith(() => ({ highest: answering([]) })),
    },
    found: /key is back|not in the log|keeps another entry|has an entry/,
  },
  'rows do not give their entries back': {
    parts: { appliedQueries: appliedWith(() => ({ rowsAfter: answering([]) })) },
    found: /key is back|not in the log|second recovery had work/,
  },
  'the log is not searched again under the lock': {
    parts: { ErasureLog: LogWithoutLook },
    migrations: withoutUniqueHash,
    found: /entered twice/,
  },
  'the position moves before the write-ahead logs are empty': {
    parts: { Recovery: recoveryOver(() => ({ checkpoint: async () => true })) },
    found: /is in the log/,
  },
  'to finish an erasure moves the position': {
    parts: { Eraser: EraserThatMovesThePosition },
    found: /is in the log/,
  },
  'requests under one Idempotency-Key are not compared': {
    parts: { ErasureLog: LogWithoutRequests },
    found: /another request: SUCCESS/,
    firstSeed: 1001,
  },
  'the log has no digests': {
    parts: { ErasureLog: LogWithoutDigests },
    found: /retry got|another request: SUCCESS/,
  },
  'the position passes an entry that was refused': {
    parts: {
      Recovery: recoveryOver(({ write }) => ({
        // As if the refused page had been applied.
        write: async (routine) =>
          write(routine).catch((error) => {
            if (error instanceof DatabaseFailure) return 0 as never;
            throw error;
          }),
      })),
    },
    found: /is not anonymized/,
    refused: 0.5,
    firstSeed: 1040,
  },
  'the data key is kept': {
    parts: { ErasureLog: LogThatKeepsKeys },
    found: /is readable|key/,
  },
  'an anonymized row is not corrected': {
    parts: { changeWriter: (...given) => ({ ...changeWriter(...given), correct: answering(1) }) },
    found: /keeps another entry/,
  },
};

const maxRuns = 150;

for (const [name, { parts, migrations: all, found, firstSeed = 1, ...options }] of Object.entries(mistakes)) {
  t.test(name, { timeout: 0 }, async (t) => {
    const place = await places.SQLite(t, all);
    const counts = newCounts();
    let violation: string | undefined;
    for (let seed = firstSeed; violation === undefined && seed < firstSeed + maxRuns; seed += 1) {
      await new Run({ place, random: randomFrom(seed), counts, parts, ...options }).play().catch((error) => {
        if (!(error instanceof Violation)) throw error;
        violation = error.message;
      });
    }
    t.match(violation, found, `after ${counts.steps} steps`);
  });
}
