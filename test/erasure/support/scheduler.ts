/** Databases whose transactions wait for their turn, so that a test decides in which order several processes run them. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as macrotask } from 'node:timers/promises';
import type { BoundQuery, Routine, SqlRow } from '../../../src/adapters/sql/driver/query.ts';
import type { SqlDatabase } from '../../../src/adapters/sql/schema/database.ts';
import { DatabaseFailure } from '../../../src/application/ports/database-failure.ts';

/** What waits for its turn: one transaction, one read or one checkpoint of a task. */
export interface Step {
  readonly task: object | undefined;
  readonly kind: StepKind;
  run(): Promise<void>;
}
export type StepKind = 'read' | 'statement' | 'write' | 'checkpoint';

/** Runs steps one at a time, each to its end. */
export class Scheduler {
  readonly waiting: Step[] = [];
  readonly #task = new AsyncLocalStorage<object>();

  /** Starts a task, whose steps are known by it. */
  start<Result>(task: object, work: () => Promise<Result>): Promise<Result> {
    return this.#task.run(task, work);
  }

  /** Waits for a turn, and then does the work. */
  step<Result>(kind: StepKind, work: (task: object | undefined) => Promise<Result>): Promise<Result> {
    const task = this.#task.getStore();
    return new Promise((resolve, reject) => {
      this.waiting.push({ task, kind, run: () => work(task).then(resolve, reject) });
    });
  }

  /** Runs one of the waiting steps; its task has gone on to its next step, or to its end, when this resolves. */
  async run(step: Step): Promise<void> {
    this.waiting.splice(this.waiting.indexOf(step), 1);
    await step.run();
    await macrotask();
  }

  /** Ends every task as a crash does: nothing of it runs any more. */
  crash(): void {
    this.waiting.length = 0;
  }
}

/** Makes steps fail; the default lets all of them pass. */
export interface Faults {
  /** Called before a write. */
  ofWrite(task: object | undefined): 'none' | 'refused' | 'answer lost';
  /** Whether another process reads from the log, so that it cannot be emptied. */
  ofCheckpoint(task: object | undefined): boolean;
}
const noFaults: Faults = { ofWrite: () => 'none', ofCheckpoint: () => false };

/**
 * The database of one process under a scheduler. A transaction is one step. A program that needs no transaction is one
 * step a statement on PostgreSQL, as there, and one transaction on SQLite, as there; with `isSplit` its reads are steps
 * of their own on SQLite too, which the port allows.
 */
export function stepped(database: SqlDatabase, scheduler: Scheduler, faults = noFaults, isSplit = false): SqlDatabase {
  const { isPostgres } = database.dialect;

  const write = <Result>(run: () => Promise<Result>) =>
    scheduler.step('write', async (task) => {
      const fault = faults.ofWrite(task);
      if (fault === 'refused') throw new DatabaseFailure(new Error('refused by the test'));
      const result = await run();
      if (fault === 'answer lost') throw new DatabaseFailure(new Error('answer lost by the test'), true);
      return result;
    });

  /** Each statement is a step. Starts again where another process came between, as the driver does. */
  async function statementByStatement<Result>(program: () => Routine<Result>): Promise<Result> {
    for (let start = 1; ; start += 1) {
      try {
        const routine = program();
        let next = routine.next();
        while (!next.done) {
          const bound: BoundQuery = next.value;
          next = routine.next(await scheduler.step('statement', () => database.read(() => only(bound))));
        }
        return next.value;
      } catch (error) {
        if (start === maxRuns || !isConflict(error)) throw error;
      }
    }
  }

  /** Reads are steps; the first statement that writes, and all after it, are one transaction, which may run again. */
  async function splitAtWrites<Result>(program: () => Routine<Result>): Promise<Result> {
    const answers: (readonly SqlRow[])[] = [];
    const routine = program();
    let next = routine.next();
    while (!next.done) {
      const bound: BoundQuery = next.value;
      if (bound.statement.gives === 'count') return write(() => database.write(() => rest(program(), answers)));
      const rows = await scheduler.step('read', () => database.read(() => only(bound)));
      answers.push(rows);
      next = routine.next(rows);
    }
    return next.value;
  }

  const read = <Result>(program: () => Routine<Result>): Promise<Result> =>
    isPostgres ? statementByStatement(program) : scheduler.step('read', () => database.read(program));

  return {
    ...database,
    read,
    readShort: read,
    write: (program) => write(() => database.write(program)),
    exclusive: (program) => write(() => database.exclusive(program)),
    writeWithoutTransaction(program) {
      if (isPostgres) return statementByStatement(program);
      return isSplit ? splitAtWrites(program) : write(() => database.writeWithoutTransaction(program));
    },
    checkpoint: (part) =>
      scheduler.step('checkpoint', async (task) =>
        !isPostgres && faults.ofCheckpoint(task) ? false : database.checkpoint(part),
      ),
  };
}

/** As the driver. */
const maxRuns = 50;
const collisions = ['40001', '40P01', '23505'];
const isConflict = (error: unknown): boolean =>
  error instanceof DatabaseFailure && collisions.includes((error.cause as { code?: string }).code ?? '');

function* only(bound: BoundQuery): Routine<readonly SqlRow[]> {
  return yield bound;
}

/** The part of a routine after the statements whose answers are given. */
function* rest<Result>(routine: Routine<Result>, answers: readonly (readonly SqlRow[])[]): Routine<Result> {
  let next = routine.next();
  for (const rows of answers) next = routine.next(rows);
  while (!next.done) next = routine.next(yield next.value);
  return next.value;
}
