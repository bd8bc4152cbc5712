/** What every database of the port does, with tables that only this test knows. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import Database from 'better-sqlite3';
import t, { type Test } from 'tap';
import type { SqlDatabase } from '../../../../src/adapters/sql/driver/database.ts';
import {
  createPostgresDialect,
  createSqliteDialect,
  type Dialect,
} from '../../../../src/adapters/sql/driver/dialects.ts';
import { openPostgres } from '../../../../src/adapters/sql/driver/postgres.ts';
import { compileWrite, type Part, parts, type Routine, runOnce } from '../../../../src/adapters/sql/driver/query.ts';
import { openSqlite, sqliteFiles } from '../../../../src/adapters/sql/driver/sqlite.ts';
import { noTelemetry } from '../../../../src/adapters/telemetry/no-telemetry.ts';
import { DatabaseFailure } from '../../../../src/application/ports/database-failure.ts';
import { newDatabase, withRawPostgres } from '../../../support/postgres.ts';
import { atOnce, newFolder, withRawSqlite } from '../../../support/storage.ts';

interface Tables {
  people: { id: number };
  secrets: { id: number };
}
const tables = { data: 'people', keys: 'secrets' } as const;
const partOf = (table: string): Part | undefined => parts.find((part) => tables[part] === table);

async function openSqliteIn(folder: string) {
  mkdirSync(folder, { recursive: true });
  return openSqlite(createSqliteDialect<Tables>(partOf), { files: sqliteFiles(folder), mayCreate: true }, noTelemetry);
}

const open: Record<string, (t: Test) => Promise<SqlDatabase<Tables>>> = {
  SQLite: (t) => openSqliteIn(newFolder(t)),
  PostgreSQL: async (t) => openPostgresAt({ url: await newDatabase(t) }),
  'PostgreSQL with the keys apart': async (t) =>
    openPostgresAt({ url: await newDatabase(t), keysUrl: await newDatabase(t) }),
};

const openPostgresAt = (place: { url: string; keysUrl?: string }): Promise<SqlDatabase<Tables>> =>
  openPostgres(
    (layout) => createPostgresDialect<Tables>(partOf, layout),
    { ...place, poolSize: 4, timeoutMs: 5_000 },
    noTelemetry,
  );

/** Creates the tables. The database is closed with the test, if not before. */
async function prepare<Opened extends SqlDatabase<Tables>>(t: Test, database: Opened) {
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= database.close();
    return closed;
  };
  t.teardown(close);
  const { dialect } = database;
  await database.exclusive(function* () {
    for (const part of parts) {
      for (const statement of dialect.createSchema(part)) yield* runOnce(statement);
      const table = dialect.builder.schema.createTable(tables[part]);
      yield* runOnce(table.addColumn('id', 'integer', (column) => column.primaryKey()).compile());
    }
  });
  return { database, close, insert: inserts(dialect), ids: (part: Part) => idsOf(database, part) };
}

const inserts = ({ builder }: Dialect<Tables>) => {
  const insertInto = (table: 'people' | 'secrets') =>
    compileWrite((row: { id: number }) => builder.insertInto(table).values({ id: row.id }));
  return { data: insertInto('people'), keys: insertInto('secrets') };
};

async function idsOf({ dialect, read }: SqlDatabase<Tables>, part: Part): Promise<unknown[]> {
  const query = dialect.builder.selectFrom(tables[part]).select('id').orderBy('id').compile();
  return (await read(() => runOnce(query))).map(({ id }) => id);
}

for (const [name, opening] of Object.entries(open)) {
  t.test(name, async (t) => {
    const storage = async (t: Test) => prepare(t, await opening(t));

    t.test('an error of the routine is the error of its caller alone, and stores nothing', async (t) => {
      const { database, insert, ids } = await storage(t);
      const results = await Promise.allSettled(
        [1, 2, 3].map((id) =>
          database.write(function* () {
            yield* insert.keys({ id });
            yield* insert.data({ id });
            if (id === 2) throw new RangeError('two');
            return id;
          }),
        ),
      );
      t.match(results, [{ value: 1 }, { reason: { name: 'RangeError', message: 'two' } }, { value: 3 }]);
      for (const part of parts) t.same(await ids(part), [1, 3]);
    });

    t.test('an error of the database is a DatabaseFailure', async (t) => {
      const { database } = await storage(t);
      const wrong = (): Routine<unknown> => runOnce({ sql: 'select nothing from nowhere' });
      await t.rejects(database.read(wrong), DatabaseFailure);
      await t.rejects(async () => database.readShort(wrong), DatabaseFailure);
      for (const way of ['write', 'writeWithoutTransaction', 'exclusive'] as const) {
        await t.rejects(database[way](wrong), DatabaseFailure);
      }
    });

    t.test('close waits for writes in flight, and for those that start after them', async (t) => {
      const { database, close, insert } = await storage(t);
      const written: number[] = [];
      const chain = async () => {
        for (const id of [1, 2, 3]) {
          await database.write(() => insert.data({ id }));
          written.push(id);
        }
      };
      const writing = chain();
      await close();
      await writing;
      t.same(written, [1, 2, 3]);
    });
  });
}

t.test('PostgreSQL', async (t) => {
  t.test('a routine that meets a conflict with another writer is rolled back and runs again', async (t) => {
    const { database, insert, ids } = await prepare(t, await openPostgresAt({ url: await newDatabase(t) }));
    await database.write(() => insert.data({ id: 0 }));
    for (const [way, keys] of [
      ['write', [4]],
      ['exclusive', [4, 14]],
      ['writeWithoutTransaction', [4, 14, 21, 22, 23, 24]],
    ] as const) {
      const first = { write: 0, exclusive: 10, writeWithoutTransaction: 20 }[way];
      let runs = 0;
      const result = await database[way](function* () {
        runs += 1;
        yield* insert.keys({ id: first + runs });
        // A duplicate value, as if another writer had inserted it.
        yield* insert.data({ id: runs < 4 ? 0 : first + runs });
        return `run ${runs}`;
      });
      t.equal(result, 'run 4');
      t.same(await ids('keys'), keys, way);
    }
    t.same(await ids('data'), [0, 4, 14, 24]);
  });

  t.test('it gives up after 50 write conflicts, and other writes go on', async (t) => {
    const { database, insert, ids } = await prepare(t, await openPostgresAt({ url: await newDatabase(t) }));
    await database.write(() => insert.data({ id: 0 }));
    let runs = 0;
    const failing = database.write(() => {
      runs += 1;
      return insert.data({ id: 0 });
    });
    const others = atOnce(5, (index) => database.write(() => insert.data({ id: index + 1 })));
    await t.rejects(failing, {
      name: 'DatabaseFailure',
      mayBeStored: false,
      cause: { message: 'gave up after 50 write conflicts', cause: { name: 'DatabaseFailure' } },
    });
    t.equal(runs, 50);
    await others;
    t.same(await ids('data'), [0, 1, 2, 3, 4, 5]);
  });
});

t.test('with the keys in a separate database, each query goes to the database of its tables', async (t) => {
  const place = { url: await newDatabase(t), keysUrl: await newDatabase(t) };
  const { database, insert } = await prepare(t, await openPostgresAt(place));
  await database.writeWithoutTransaction(function* () {
    yield* insert.keys({ id: 1 });
    yield* insert.data({ id: 2 });
  });
  t.same(await withRawPostgres(place.keysUrl, 'select id from c2a_keys.secrets'), [{ id: 1 }]);
  t.same(await withRawPostgres(place.url, 'select id from c2a.people'), [{ id: 2 }]);
  t.equal(await database.checkpoint('data'), undefined);
});

t.test('SQLite', async (t) => {
  t.test('readShort returns the result itself', async (t) => {
    const { database } = await prepare(t, await openSqliteIn(newFolder(t)));
    t.same(
      database.readShort(() => runOnce({ sql: 'select 1 as one' })),
      [{ one: 1 }],
    );
  });

  t.test('a shared read snapshot does not hide a later commit of another connection', async (t) => {
    const folder = newFolder(t);
    const { database } = await prepare(t, await openSqliteIn(folder));
    const count = async () => (await database.readShort(() => runOnce({ sql: 'SELECT id FROM people' }))).length;
    for (let turn = 0; turn < 3; turn += 1) {
      const commit = () =>
        withRawSqlite(sqliteFiles(folder).data, (raw) => raw.exec(`INSERT INTO people VALUES (${turn})`));
      const [before, after] = await new Promise<Promise<number>[]>((resolve) => {
        setImmediate(() => {
          // Queued before any callback that the read queues.
          setImmediate(() => resolve([first, count()]));
          const first = count();
          process.nextTick(commit);
        });
      }).then((reads) => Promise.all(reads));
      t.equal(after, Number(before) + 1);
    }
  });

  t.test('a write does not wait while reads keep coming', async (t) => {
    const { database, insert } = await prepare(t, await openSqliteIn(newFolder(t)));
    for (let id = 1; id <= 5; id += 1) {
      const written = { is: false };
      const writing = database
        .write(() => insert.data({ id }))
        .then(() => {
          written.is = true;
        });
      // A read in every turn of the event loop: a write that waited for a quiet turn would never run.
      while (!written.is) {
        database.readShort(() => runOnce({ sql: 'SELECT id FROM people' }));
        await nextTurn();
      }
      await writing;
    }
    t.same(await idsOf(database, 'data'), [1, 2, 3, 4, 5]);
  });

  t.test('every commit is synced, and deleted data is overwritten', async (t) => {
    const { database } = await prepare(t, await openSqliteIn(newFolder(t)));
    for (const schema of ['main', 'data']) {
      for (const [pragma, expected] of [
        ['journal_mode', 'wal'],
        ['synchronous', 2],
        ['secure_delete', 1],
      ] as const) {
        const rows = await database.read(() => runOnce({ sql: `PRAGMA ${schema}.${pragma}` }));
        t.same(rows, [{ [pragma]: expected }], schema);
      }
    }
  });

  t.test('a checkpoint tells whether the log is empty', async (t) => {
    const folder = newFolder(t);
    const { database, insert } = await prepare(t, await openSqliteIn(folder));
    await database.write(() => insert.data({ id: 1 }));
    const reader = new Database(sqliteFiles(folder).data);
    reader.exec('BEGIN; SELECT count(*) FROM people');
    reader.prepare('SELECT count(*) FROM people').get();
    await database.write(() => insert.data({ id: 2 }));
    t.same(await Promise.all([database.checkpoint('keys'), database.checkpoint('data')]), [true, false]);
    reader.exec('COMMIT');
    reader.close();
    t.equal(await database.checkpoint('data'), true);
  });

  t.test('the epoch changes with commits of other connections alone', async (t) => {
    const folder = newFolder(t);
    const { database, insert } = await prepare(t, await openSqliteIn(folder));
    const epoch = async () => {
      // Snapshots end with the turn of the event loop.
      await new Promise(setImmediate);
      return database.epoch();
    };
    const before = await epoch();
    await database.write(() => insert.data({ id: 1 }));
    t.equal(await epoch(), before);
    for (const [part, file] of Object.entries(sqliteFiles(folder))) {
      const seen = await epoch();
      withRawSqlite(file, (raw) => raw.exec(`INSERT INTO ${tables[part as Part]} VALUES (10)`));
      t.not(await epoch(), seen, part);
    }
  });

  t.test('a backup can be completed before it is synced; a failed one leaves no file', async (t) => {
    const folder = newFolder(t);
    const { database, insert } = await prepare(t, await openSqliteIn(folder));
    await database.write(() => insert.keys({ id: 1 }));
    const copy = join(folder, 'copy.db');
    await database.copy('keys', copy, (file) =>
      withRawSqlite(file, (raw) => raw.exec('INSERT INTO secrets VALUES (2)')),
    );
    t.equal(
      withRawSqlite(copy, (raw) => raw.prepare('SELECT count(*) FROM secrets').pluck().get()),
      2,
    );
    await t.rejects(database.copy('keys', copy), { code: 'EEXIST' });
    const failed = join(folder, 'failed.db');
    await t.rejects(
      database.copy('data', failed, (file) => withRawSqlite(file, (raw) => raw.exec('INSERT INTO nowhere VALUES (1)'))),
      DatabaseFailure,
    );
    t.throws(() => new Database(failed, { fileMustExist: true }));
    t.same(await idsOf(database, 'keys'), [1]);
  });

  t.test('files that were put aside are searched, and one that cannot be read is named', async (t) => {
    const folder = newFolder(t);
    const { database, insert } = await prepare(t, await openSqliteIn(folder));
    const { data } = sqliteFiles(folder);
    const search = () => database.searchCopies('data', 'SELECT count(*) FROM people WHERE id = ?', [7]);
    t.same(search(), {});
    await database.write(() => insert.data({ id: 7 }));
    await database.copy('data', `${data}.replaced-20260101T000000`);
    writeFileSync(`${data}.replaced-20260102T000000`, 'not a database');
    t.same(search(), {
      'customers.db.replaced-20260101T000000': 1,
      'customers.db.replaced-20260102T000000': undefined,
    });
    t.same(database.searchCopies('keys', 'SELECT 1', []), {});
  });
});
