/**
 * Queries are built with Kysely and compiled once, when a database is opened; a call only binds values. A method of a
 * repository is a routine: a generator that yields bound queries and gets their rows. So the same code runs on a
 * synchronous database (SQLite, which runs many routines in one transaction) and on an asynchronous one.
 */
import type { CompiledQuery as KyselyQuery } from 'kysely';

/**
 * The two parts of a deployment's storage, backed up separately: `data` holds the records, `keys` the wrapped keys.
 * A part is a file in SQLite, and a schema or a database in PostgreSQL. Listed in commit order.
 */
export const parts = ['keys', 'data'] as const;
export type Part = (typeof parts)[number];

/** A compiled query with a value for each placeholder. */
export interface BoundQuery {
  readonly statement: CompiledQuery;
  readonly values: readonly unknown[];
}

/** A driver keeps one prepared statement per object of this type: reuse the object to reuse the prepared statement. */
export interface CompiledQuery {
  readonly sql: string;
  /** The part whose tables the query names. */
  readonly part: Part;
  /** True for a query that runs once: its prepared statement is not kept. */
  readonly once?: true;
  /** `one`: at most one row. `count`: the number of written rows, as one row `{ count }`. Absent: all rows. */
  readonly gives?: 'one' | 'count';
}

export type SqlRow = Readonly<Record<string, unknown>>;
export type Routine<Result> = Generator<BoundQuery, Result, readonly SqlRow[]>;

/** SQL in the dialect of the database, with the values of its placeholders. */
export interface Compiled {
  readonly sql: string;
  readonly parameters?: readonly unknown[];
  /** The part whose tables the SQL names. Absent: the part of `query`, else `data`. */
  readonly part?: Part;
  /** Kysely's operation node. */
  readonly query?: object;
}

/** An operation node with the part of its tables, which the plugin of `dialects.ts` adds to every query. */
export interface NodeWithPart {
  readonly part?: Part;
}

const partOf = ({ part, query }: Compiled): Part => part ?? (query as NodeWithPart | undefined)?.part ?? 'data';

/** An object in which every member is a symbol of the member's name: the placeholder for the argument of that name. */
const placeholders = new Proxy({}, { get: (_, name) => Symbol(String(name)) });

type Build<Arguments, Result> = (arguments_: Arguments) => { compile(): KyselyQuery<Result> };

/**
 * Compiles a query.
 *
 * @param build gets an object whose members are placeholders for the arguments of those names
 * @returns a routine that binds the arguments, runs the query and returns its rows
 */
export const compileQuery = <Arguments, Result>(build: Build<Arguments, Result>) => compile<Arguments, Result>(build);

/** Like `compileQuery`, for a query that returns at most one row. */
export const compileSingle = <Arguments, Result>(build: Build<Arguments, Result>) =>
  compile<Arguments, Result>(build, 'one');

/** Like `compileQuery`, for a query that writes; the routine returns the number of written rows. */
export function compileWrite<Arguments>(build: Build<Arguments, unknown>): (arguments_: Arguments) => Routine<number> {
  const run = compile<Arguments, { readonly count: number }>(build, 'count');
  return function* (arguments_) {
    const [written] = yield* run(arguments_);
    return written?.count ?? 0;
  };
}

function compile<Arguments, Result>(
  build: Build<Arguments, unknown>,
  gives?: CompiledQuery['gives'],
): (arguments_: Arguments) => Routine<readonly Result[]> {
  const compiled = build(placeholders as Arguments).compile();
  const statement: CompiledQuery = { sql: compiled.sql, part: partOf(compiled), ...(gives && { gives }) };
  return function* (arguments_) {
    const values = compiled.parameters.map((parameter) =>
      typeof parameter === 'symbol' ? (arguments_ as SqlRow)[parameter.description as string] : parameter,
    );
    return (yield { statement, values }) as readonly unknown[] as readonly Result[];
  };
}

/** Runs a query that is needed once. */
export function* runOnce(compiled: Compiled): Routine<readonly SqlRow[]> {
  const { sql, parameters = [] } = compiled;
  return yield { statement: { sql, part: partOf(compiled), once: true }, values: parameters };
}
