/**
 * Statements are built with Kysely and compiled once, when a database is opened; a call only binds values. What a
 * port method does is a program: a generator that yields bound statements and gets their rows. So one text serves
 * a synchronous database (SQLite runs many programs in one transaction) and an asynchronous one.
 */
import type { CompiledQuery as KyselyQuery } from 'kysely';

export interface BoundQuery {
  readonly statement: CompiledQuery;
  readonly values: readonly unknown[];
}
/** The same object every time, by which a database knows what it has prepared. */
export interface CompiledQuery {
  readonly sql: string;
  /** Set where it is not worth to keep it prepared. */
  readonly once?: true;
  /**
   * Set where the database need not give all rows: `one` of a statement that reads one at most, so that it looks for no
   * other; `count` of one that writes, as a row `{ count }`, so that it reads nothing back.
   */
  readonly gives?: 'one' | 'count';
}
export type SqlRow = Readonly<Record<string, unknown>>;
export type Routine<Result> = Generator<BoundQuery, Result, readonly SqlRow[]>;

/** Text in the database's dialect, with the values that are part of it. */
export interface Compiled {
  readonly sql: string;
  readonly parameters?: readonly unknown[];
}

/** Marks the place of an argument while a statement is compiled. */
class Placeholder {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

const placeholders = new Proxy({}, { get: (_, name) => new Placeholder(String(name)) });

type Build<Arguments, Result> = (arguments_: Arguments) => { compile(): KyselyQuery<Result> };

/**
 * Compiles a statement.
 *
 * @param build gets an object each of whose members stands for the argument of that name
 * @returns a program that binds arguments, runs the statement and gives its rows
 */
export const compileQuery = <Arguments, Result>(build: Build<Arguments, Result>) =>
  binding<Arguments, Result>(build, {});

/** Like `prepare`, for what reads one row at most. */
export const compileSingle = <Arguments, Result>(build: Build<Arguments, Result>) =>
  binding<Arguments, Result>(build, { gives: 'one' });

/** Like `prepare`, for what writes; its program gives how many rows it has written. */
export function compileWrite<Arguments>(build: Build<Arguments, unknown>): (arguments_: Arguments) => Routine<number> {
  const run = binding<Arguments, { readonly count: number }>(build, { gives: 'count' });
  return function* (arguments_) {
    const [written] = yield* run(arguments_);
    return written?.count ?? 0;
  };
}

function binding<Arguments, Result>(
  build: Build<Arguments, unknown>,
  kind: Pick<CompiledQuery, 'gives'>,
): (arguments_: Arguments) => Routine<readonly Result[]> {
  const { sql, parameters } = build(placeholders as Arguments).compile();
  const statement: CompiledQuery = { sql, ...kind };
  return function* (arguments_) {
    const values = parameters.map((parameter) =>
      parameter instanceof Placeholder ? (arguments_ as SqlRow)[parameter.name] : parameter,
    );
    return (yield { statement, values }) as readonly unknown[] as readonly Result[];
  };
}

/** Runs a statement that is needed once. */
export function* runOnce({ sql, parameters = [] }: Compiled): Routine<readonly SqlRow[]> {
  return yield { statement: { sql, once: true }, values: parameters };
}
