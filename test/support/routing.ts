/** Which tables of a PostgreSQL statement are not restricted to one tenant, found with PostgreSQL's own parser. */
import { parse } from 'libpg-query';
import { tables } from '../../src/adapters/sql/schema/tables.ts';

/** A node of the parser's tree, e.g. `{ SelectStmt: { … } }`, or a part of it. */
// biome-ignore lint/suspicious/noExplicitAny: the tree has hundreds of types
type Node = any;

/** What Citus needs to know of a statement in order to send it to one node. */
export interface Routing {
  /** The distributed tables for which no equality, and no inserted value, names the tenant as a parameter. */
  readonly unnamed: readonly string[];
  /** The numbers of the parameters that name the tenant. */
  readonly tenants: readonly number[];
  /** Whether an `insert` is inside of `with`. */
  readonly insertsInWith: boolean;
}

export async function routingOf(sql: string): Promise<Routing> {
  const { stmts } = (await parse(sql)) as Node;
  const found = { unnamed: [] as string[], tenants: [] as number[], insertsInWith: false };
  for (const { stmt } of stmts) visit(stmt, new Set(), found);
  return found;
}

type Found = {
  -readonly [Member in keyof Routing]: Routing[Member] extends readonly (infer E)[] ? E[] : Routing[Member];
};

/** Visits every statement in a tree. @param scope the names that `with` defines */
function visit(node: Node, scope: ReadonlySet<string>, found: Found): void {
  if (Array.isArray(node)) for (const part of node) visit(part, scope, found);
  if (node === null || typeof node !== 'object' || Array.isArray(node)) return;
  for (const [type, part] of Object.entries<Node>(node)) {
    const inner = new Set([
      ...scope,
      ...(part?.withClause?.ctes ?? []).map((cte: Node) => cte.CommonTableExpr.ctename),
    ]);
    if (type === 'CommonTableExpr') found.insertsInWith ||= part.ctequery.InsertStmt !== undefined;
    // The two sides of a union are statements without a type of their own.
    if (/^(SelectStmt|larg|rarg|UpdateStmt|DeleteStmt)$/.test(type)) {
      const sources = [part.relation, ...(part.fromClause ?? []), ...(part.usingClause ?? [])].filter(Boolean);
      // A statement in FROM is visited by itself.
      const named = sources.filter(({ RangeSubselect }) => RangeSubselect === undefined);
      for (const source of named) judge(sourceOf(source), inner, tenantIn(part.whereClause), found);
    }
    if (type === 'InsertStmt') judge(part.relation.relname, inner, insertedTenants(part), found);
    visit(part, inner, found);
  }
}

/** The name of a table in FROM. A join or a function would need a rule of its own. */
function sourceOf(source: Node): string {
  const { relname } = source.RangeVar ?? source;
  if (relname === undefined) throw new Error(`this rule does not know ${JSON.stringify(source)}`);
  return relname;
}

function judge(table: string, scope: ReadonlySet<string>, named: readonly (number | undefined)[], found: Found): void {
  if (scope.has(table) || !tables[table as keyof typeof tables].distributed) return;
  const numbers = named.filter((number) => number !== undefined);
  if (named.length === 0 || numbers.length < named.length) found.unnamed.push(table);
  found.tenants.push(...numbers);
}

/** The parameters with which a condition compares `tenant`, by `=` and in parts joined by AND. */
function tenantIn(condition: Node): number[] {
  if (condition?.BoolExpr?.boolop === 'AND_EXPR') return condition.BoolExpr.args.flatMap(tenantIn);
  const { kind, name, lexpr, rexpr } = condition?.A_Expr ?? {};
  const isEquality = kind === 'AEXPR_OP' && name[0].String.sval === '=';
  const column = lexpr?.ColumnRef?.fields.at(-1).String?.sval;
  const parameter = parameterOf(rexpr);
  return isEquality && column === 'tenant' && parameter !== undefined ? [parameter] : [];
}

/** The parameter that an `insert` gives each row as its tenant; undefined where it is something else. */
function insertedTenants({ cols, selectStmt }: Node): (number | undefined)[] {
  const place = cols.findIndex(({ ResTarget }: Node) => ResTarget.name === 'tenant');
  const { valuesLists, targetList } = selectStmt.SelectStmt;
  const rows = valuesLists?.map(({ List }: Node) => List.items) ?? [
    targetList.map(({ ResTarget }: Node) => ResTarget.val),
  ];
  return rows.map((row: Node[]) => parameterOf(row[place]));
}

const parameterOf = (node: Node): number | undefined => (node?.TypeCast?.arg ?? node)?.ParamRef?.number;
