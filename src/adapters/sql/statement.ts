/**
 * Statements are built with Kysely and compiled once, when a database is opened; a call only binds values. What a
 * port method does is a program: a generator that yields bound statements and gets their rows. So one text serves
 * a synchronous database (SQLite runs many programs in one transaction) and an asynchronous one.
 */
import type { CompiledQuery } from 'kysely';

export interface Bound {
  readonly statement: Statement;
  readonly values: readonly unknown[];
}
/** The same object every time, by which a database knows what it has prepared. */
export interface Statement {
  readonly sql: string;
  /** Set where it is not worth to keep it prepared. */
  readonly once?: true;
  /** Set where it only reads, and there is one row at most: nobody need look for another. */
  readonly one?: true;
}
export type SqlRow = Readonly<Record<string, unknown>>;
export type Program<Result> = Generator<Bound, Result, readonly SqlRow[]>;

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

/**
 * Compiles a statement.
 *
 * @param build gets an object each of whose members stands for the argument of that name
 * @returns a program that binds arguments, runs the statement and gives its rows
 */
export function prepare<Arguments, Result>(
  build: (arguments_: Arguments) => { compile(): CompiledQuery<Result> },
): (arguments_: Arguments) => Program<readonly Result[]> {
  return binding(build, {});
}

/** Like `prepare`, for what reads one row at most. */
export function prepareOne<Arguments, Result>(
  build: (arguments_: Arguments) => { compile(): CompiledQuery<Result> },
): (arguments_: Arguments) => Program<readonly Result[]> {
  return binding(build, { one: true });
}

function binding<Arguments, Result>(
  build: (arguments_: Arguments) => { compile(): CompiledQuery<Result> },
  kind: Pick<Statement, 'one'>,
): (arguments_: Arguments) => Program<readonly Result[]> {
  const { sql, parameters } = build(placeholders as Arguments).compile();
  const statement: Statement = { sql, ...kind };
  return function* (arguments_) {
    const values = parameters.map((parameter) =>
      parameter instanceof Placeholder ? (arguments_ as SqlRow)[parameter.name] : parameter,
    );
    return (yield { statement, values }) as readonly unknown[] as readonly Result[];
  };
}

/** Runs a statement that is needed once. */
export function* bind({ sql, parameters = [] }: Compiled): Program<readonly SqlRow[]> {
  return yield { statement: { sql, once: true }, values: parameters };
}
