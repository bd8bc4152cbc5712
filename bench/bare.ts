/**
 * The upper limit of the stack: a bare Fastify that sends the service's answers, headers included, and does nothing else.
 * `run.ts` starts it as `node bare.ts '{"<method> <path>": "<body>", …}' [<PostgreSQL URL>]`; it prints its URL. With a
 * database, it first runs the statement that the service would run for the request, through `pg`.
 */
import { randomBytes } from 'node:crypto';
import Fastify, { type HTTPMethods } from 'fastify';
import pg from 'pg';
import { changeWriter } from '../src/adapters/sql/customers/change-writer.ts';
import { customerQueries } from '../src/adapters/sql/customers/queries.ts';
import type { Routine } from '../src/adapters/sql/driver/query.ts';
import { postgresDialect } from '../src/adapters/sql/schema/database.ts';
import { mediaType } from '../src/http/envelope.ts';

const [answers, databaseUrl] = process.argv.slice(2) as [string, string?];
const headers = {
  'content-type': mediaType,
  'cache-control': 'no-store',
  'x-request-id': '00000000-0000-4000-8000-000000000000',
  etag: '"1"',
};
const database = databaseUrl === undefined ? undefined : new pg.Pool({ connectionString: databaseUrl, max: 10 });

const tenant = 'acme';
const customers = Number(process.env.CUSTOMERS ?? 0);
const dialect = postgresDialect({ keysApart: false, isCitus: false });
const queries = customerQueries(dialect);
const writer = changeWriter(dialect, queries, () => {});
let added = 0;

/** The service's statement for a request to each path. */
const statements: Record<string, () => Routine<unknown>> = {
  info: () => queries.findByNumber({ tenant, number: 1 + Math.floor(Math.random() * customers) }),
  validate: () => queries.findHolder({ tenant, externalId: randomBytes(16) }),
  store() {
    added += 1;
    const row = {
      tenant,
      number: 10 ** 14 + Date.now() * 1000 + added,
      version: 1,
      external_id: randomBytes(16),
      email: randomBytes(16),
      phone_number: randomBytes(16),
      sealed: randomBytes(600),
      wrapped: randomBytes(72),
      created_at: 0,
      updated_at: 0,
    };
    const actor = { keyId: 'bench', requestId: 'bench' };
    return writer.insert(row, { type: 'customer.stored', changedFields: ['email', 'phoneNumber'], actor });
  },
};

async function ask(path: string): Promise<void> {
  const bound = statements[path]?.().next().value;
  if (bound === undefined || typeof bound !== 'object') throw new Error(`no statement for ${path}`);
  const { statement, values } = bound as { statement: { sql: string }; values: readonly unknown[] };
  await database?.query({ name: path, text: statement.sql, values: [...values] });
}

const app = Fastify();
for (const [route, text] of Object.entries(JSON.parse(answers) as Record<string, string>)) {
  const [method, url] = route.split(' ') as [HTTPMethods, string];
  const path = url.split('/').at(-1) as string;
  app.route({
    method,
    url,
    handler:
      database === undefined
        ? (_, reply) => reply.headers(headers).send(text)
        : async (_, reply) => {
            await ask(path);
            return reply.headers(headers).send(text);
          },
  });
}
console.log(await app.listen({ host: '127.0.0.1', port: 0 }));
