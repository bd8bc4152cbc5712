import type { Checkpoint, Checkpoints } from '../../application/ports/checkpoints.ts';
import { compileQuery, compileSingle, compileWrite } from './driver/query.ts';
import type { Dialect, SqlDatabase } from './schema/database.ts';
import type { Tables } from './schema/tables.ts';

type Row = Tables['checkpoints'];

export function checkpointQueries({ builder }: Dialect) {
  const of = (tenant: string) => builder.selectFrom('checkpoints').selectAll().where('tenant', '=', tenant);
  return {
    /** Returns 0 if the tenant has a checkpoint of this sequence. */
    insert: compileWrite((row: Row) =>
      builder
        .insertInto('checkpoints')
        .values({
          tenant: row.tenant,
          sequence: row.sequence,
          through: row.through,
          digests: row.digests,
          previous: row.previous,
          erasure_sequence: row.erasure_sequence,
          erasure_chain: row.erasure_chain,
          at: row.at,
          signature: row.signature,
        })
        .onConflict((on) => on.doNothing()),
    ),
    last: compileSingle(({ tenant }: { tenant: string }) => of(tenant).orderBy('sequence', 'desc').limit(1)),
    listAfter: compileQuery((at: { tenant: string; after: number; limit: number }) =>
      of(at.tenant).where('sequence', '>', at.after).orderBy('sequence').limit(at.limit),
    ),
  };
}

/** Checkpoints in SQL. Of processes that make one of the same sequence, the primary key lets one succeed. */
export function createSqlCheckpoints({ dialect, read, write }: SqlDatabase): Checkpoints {
  const run = checkpointQueries(dialect);
  return {
    async add(tenant, { erasureLog, ...checkpoint }) {
      const row = {
        ...checkpoint,
        tenant,
        erasure_sequence: erasureLog?.sequence ?? null,
        erasure_chain: erasureLog === undefined ? null : Buffer.from(erasureLog.chain, 'base64url'),
      };
      return (await write(() => run.insert(row))) > 0;
    },
    async last(tenant) {
      const [row] = await read(() => run.last({ tenant }));
      return row && checkpointOf(row);
    },
    async list(tenant, after, limit) {
      return (await read(() => run.listAfter({ tenant, after, limit }))).map(checkpointOf);
    },
  };
}

function checkpointOf({ tenant: _, erasure_sequence, erasure_chain, digests, signature, ...row }: Row): Checkpoint {
  const checkpoint = { ...row, digests: bytesIn(digests), signature: bytesIn(signature) };
  if (erasure_sequence === null || erasure_chain === null) return checkpoint;
  const chain = Buffer.from(bytesIn(erasure_chain)).toString('base64url');
  return { ...checkpoint, erasureLog: { sequence: erasure_sequence, chain } };
}

/** SQLite keeps what somebody has put there, of any type: the checkpoint is then broken. */
const bytesIn = (value: unknown): Uint8Array => (value instanceof Uint8Array ? value : new Uint8Array());
