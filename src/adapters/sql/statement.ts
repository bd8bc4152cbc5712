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

/** @public What is exported elsewhere has it in its type. */
export interface Prepared<Arguments, Result> {
  (arguments_: Arguments): Program<readonly Result[]>;
  readonly statement: Statement;
}

/**
 * Compiles a statement.
 *
 * @param build gets an object each of whose members stands for the argument of that name
 * @returns a program that binds arguments, runs the statement and gives its rows
 */
export function prepare<Arguments, Result>(
  build: (arguments_: Arguments) => { compile(): CompiledQuery<Result> },
): Prepared<Arguments, Result> {
  const { sql, parameters } = build(placeholders as Arguments).compile();
  const statement: Statement = { sql };

  function* run(arguments_: Arguments) {
    const values = parameters.map((parameter) =>
      parameter instanceof Placeholder ? (arguments_ as SqlRow)[parameter.name] : parameter,
    );
    return (yield { statement, values }) as readonly unknown[] as readonly Result[];
  }
  return Object.assign(run, { statement });
}

/** Runs a statement that is needed once. */
export function* bind({ sql, parameters = [] }: Compiled): Program<readonly SqlRow[]> {
  return yield { statement: { sql, once: true }, values: parameters };
}
