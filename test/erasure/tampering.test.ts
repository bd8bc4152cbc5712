/**
 * Somebody changes the files of a deployment: what a start sees, what `audit verify` sees, and what neither can see.
 * The table is that of docs/decisions/0011-erasure-log.md.
 */
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import t from 'tap';
import type { Vault } from '../../src/adapters/crypto/vault.ts';
import { createCustomerStorage } from '../../src/adapters/sql/customer-storage.ts';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { unlockVault } from '../../src/adapters/sql/root-keys.ts';
import { openSqlite } from '../../src/adapters/sql/schema/database.ts';
import { readDeployment } from '../../src/adapters/sql/schema/migrate.ts';
import { createSqlTenants } from '../../src/adapters/sql/tenants.ts';
import { noTelemetry } from '../../src/adapters/telemetry/no-telemetry.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { isAnonymized } from '../../src/domain/anonymization.ts';
import {
  byUrn,
  idempotencyKey,
  newFolder,
  noon,
  referenceData,
  tenantId,
  tenantOf,
  withRawSqlite,
} from '../support/storage.ts';

const tenant = tenantId('acme');
const urnOf = (number: number) => byUrn(`cu.00.${number}`);

/** Opens a folder without the recovery of a start. */
async function open(dataDir: string) {
  mkdirSync(dataDir, { recursive: true });
  const database = await openSqlite({ files: sqliteFiles(dataDir), mayCreate: true }, noTelemetry);
  const vault = await unlockVault({ database, masterKeyFile: join(dataDir, 'master.key'), mayCreate: true });
  const deployment = await readDeployment(database);
  const customers = createCustomerStorage({ database, vault, referenceData, partition: '00', deployment });
  return { ...customers, acme: tenantOf(customers.repository, tenant), database, vault, deployment };
}
type Opened = Awaited<ReturnType<typeof open>>;

const customers = 12;
/** Copies of one deployment as it was at these times, in the order of time. */
const times = ['early', 'settled', 'lagging', 'begun'] as const;
type Time = (typeof times)[number];

/**
 * `early`: 1 and 2 are erased. `settled`: 3, 4 and 5 too, and the position is the head. `lagging`: 6 and 7 too, finished and
 * not in the position. `begun`: 8 too, of which the records know nothing.
 */
async function history(folder: string): Promise<Record<Time, string>> {
  const copies = Object.fromEntries(times.map((time) => [time, `${folder}-${time}`])) as Record<Time, string>;
  const during = async (work: (opened: Opened) => Promise<unknown>, time: Time) => {
    const opened = await open(folder);
    await work(opened);
    await opened.database.close();
    copyFolder(folder, copies[time]);
  };
  await during(async ({ database, acme, recovery }) => {
    await createSqlTenants(database).addTenant({ id: tenant, payment: { channels: [] }, createdAt: noon } as never);
    for (let number = 1; number <= customers; number += 1) await acme.mustStore(`crm-${number}`, { firstName: 'Jane' });
    for (const number of [1, 2]) await acme.erase(urnOf(number));
    await recovery.recover(tenant);
  }, 'early');
  await during(async ({ acme, recovery }) => {
    for (const number of [3, 4, 5]) await acme.erase(urnOf(number), { key: idempotencyKey(`${number}`, '', noon * 2) });
    await recovery.recover(tenant);
  }, 'settled');
  await during(async ({ acme }) => {
    for (const number of [6, 7]) await acme.erase(urnOf(number));
  }, 'lagging');
  await during(async ({ acme }) => acme.erase(urnOf(8)), 'begun');
  // The records as if the process had ended before it finished.
  copyFileSync(sqliteFiles(copies.lagging).data, sqliteFiles(copies.begun).data);
  return copies;
}

function copyFolder(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) copyFileSync(join(from, name), join(to, name));
}

interface Tools {
  readonly keys: Database.Database;
  readonly data: Database.Database;
  /** The same deployment at the other times. */
  readonly at: Record<Time, { keys: string; data: string }>;
  readonly vault: Vault;
  readonly deployment: string;
}
interface Case {
  readonly from?: Time;
  readonly tamper: (tools: Tools) => void;
  /** What a start finds; nothing where it is absent. */
  readonly start?: readonly string[];
  /** What `audit verify` finds after that; nothing where it is absent. */
  readonly audit?: readonly string[];
  /** Customers that cannot be read afterwards, as it was their record or key that was damaged. */
  readonly lost?: readonly number[];
  /** Erased customers that are readable, though only after a fork or with older copies of both files. */
  readonly back?: readonly number[];
  /** Whether the tenant's next erasure is refused, until somebody removes what was inserted. */
  readonly isBlocked?: true;
}

const sql =
  (part: 'keys' | 'data', ...statements: string[]) =>
  (tools: Tools) => {
    for (const statement of statements) tools[part].exec(statement);
  };
const both =
  (...tampers: ((tools: Tools) => void)[]) =>
  (tools: Tools) => {
    for (const tamper of tampers) tamper(tools);
  };
/** Replaces a whole file. */
const older = (part: 'keys' | 'data', time: Time) => (tools: Tools) => {
  const tables = {
    keys: ['data_keys', 'erasures', 'erasure_heads', 'key_copies_used', 'sequences'],
    data: ['customers', 'changes', 'feeds', 'idempotency_records', 'erasure_positions'],
  };
  tools[part].prepare('ATTACH ? AS older').run(tools.at[time][part]);
  for (const table of tables[part]) {
    tools[part].exec(`DELETE FROM main.${table}; INSERT INTO main.${table} SELECT * FROM older.${table}`);
  }
  tools[part].exec('DETACH older');
};
/** Rows of an older copy, in place of the present ones. */
const olderRows = (part: 'keys' | 'data', time: Time, table: string, where: string) => (tools: Tools) => {
  tools[part].prepare('ATTACH ? AS older').run(tools.at[time][part]);
  tools[part].exec(`REPLACE INTO main.${table} SELECT * FROM older.${table} WHERE ${where}; DETACH older`);
};
/** Computes the chain anew from an entry on, as only the root key allows; returns the last link. */
function forge({ keys, vault }: Tools, from: number): void {
  type Entry = { sequence: number; hash: Buffer; sealed: Buffer; chain: Buffer };
  const entries = keys.prepare<[], Entry>('SELECT * FROM erasures ORDER BY sequence').all();
  let previous = entries[from - 2]?.chain as Buffer;
  for (const { sequence, hash, sealed } of entries.slice(from - 1)) {
    previous = vault.chainLink(previous, sequence, hash, sealed);
    keys.prepare('UPDATE erasures SET chain = ? WHERE sequence = ?').run(previous, sequence);
  }
  keys.prepare('UPDATE erasure_heads SET chain = ?').run(previous);
}
/** Another content for an entry. */
function reseal({ keys, vault }: Tools, sequence: number): Buffer {
  type Entry = { hash: Buffer; sealed: Buffer };
  const { hash, sealed } = keys.prepare('SELECT hash, sealed FROM erasures WHERE sequence = ?').get(sequence) as Entry;
  const content = JSON.parse(vault.openFromLog(sealed, hash.toString('hex')));
  content.erasure.keyId = 'somebody else';
  const forged = vault.sealForLog(JSON.stringify(content), hash.toString('hex'));
  keys.prepare('UPDATE erasures SET sealed = ? WHERE sequence = ?').run(forged, sequence);
  return forged;
}
const swap = (part: 'keys' | 'data', table: string, column: string, one: number, other: number) => (tools: Tools) => {
  const find = tools[part].prepare(`SELECT ${column} FROM ${table} WHERE number = ?`).pluck();
  const set = tools[part].prepare(`UPDATE ${table} SET ${column} = ? WHERE number = ?`);
  const [first, second] = [find.get(one), find.get(other)];
  set.run(second, one);
  set.run(first, other);
};
const cutOff = (after: number) => [
  `DELETE FROM erasures WHERE sequence > ${after}`,
  `UPDATE erasure_heads SET (sequence, chain) = (SELECT sequence, chain FROM erasures WHERE sequence = ${after})`,
];

const cases: Record<string, Record<string, Case>> = {
  'an entry that the records have applied': {
    'content changed': {
      tamper: sql('keys', 'UPDATE erasures SET sealed = randomblob(length(sealed)) WHERE sequence = 3'),
      audit: ['broken_link 3', 'broken_seal 3', 'record_differs_from_entry #3'],
    },
    'hash changed': {
      tamper: sql('keys', 'UPDATE erasures SET hash = randomblob(length(hash)) WHERE sequence = 3'),
      audit: ['broken_link 3', 'broken_seal 3', 'entry_missing #3'],
    },
    'chain changed': {
      tamper: sql('keys', 'UPDATE erasures SET chain = randomblob(32) WHERE sequence = 3'),
      audit: ['broken_link 3', 'broken_link 4'],
    },
    'chain of the last one changed': {
      tamper: sql('keys', 'UPDATE erasures SET chain = randomblob(32) WHERE sequence = 5'),
      audit: ['broken_link 5', 'position_mismatch 5', 'head_mismatch 5'],
    },
    'sequence changed': {
      tamper: sql('keys', 'UPDATE erasures SET sequence = 9 WHERE sequence = 5'),
      audit: ['broken_link 9', 'position_mismatch 5', 'head_mismatch 5', 'record_differs_from_entry #5'],
    },
    'digests changed, which only a retry needs': {
      tamper: sql(
        'keys',
        'UPDATE erasures SET key_digest = randomblob(32), request_digest = randomblob(32) WHERE sequence = 3',
      ),
    },
    removed: {
      tamper: sql('keys', 'DELETE FROM erasures WHERE sequence = 3'),
      audit: ['broken_link 4', 'entry_missing #3'],
    },
    'the first one removed': {
      tamper: sql('keys', 'DELETE FROM erasures WHERE sequence = 1'),
      audit: ['broken_link 2', 'entry_missing #1'],
    },
    'the last one removed': {
      tamper: sql('keys', 'DELETE FROM erasures WHERE sequence = 5'),
      audit: ['position_mismatch 5', 'head_mismatch 5', 'entry_missing #5'],
    },
    'one inserted at the end': {
      tamper: sql(
        'keys',
        "INSERT INTO erasures VALUES ('acme', 6, randomblob(32), randomblob(99), randomblob(32), NULL, NULL, NULL)",
      ),
      audit: ['broken_link 6', 'broken_seal 6', 'head_mismatch 5'],
      isBlocked: true,
    },
    'two swapped': {
      tamper: sql(
        'keys',
        'UPDATE erasures SET sequence = 99 WHERE sequence = 2',
        'UPDATE erasures SET sequence = 2 WHERE sequence = 3',
        'UPDATE erasures SET sequence = 3 WHERE sequence = 99',
      ),
      audit: [
        'broken_link 2',
        'broken_link 3',
        'broken_link 4',
        'record_differs_from_entry #2',
        'record_differs_from_entry #3',
      ],
    },
    'one of another tenant in its place': {
      tamper: sql(
        'keys',
        "INSERT INTO erasures SELECT 'globex', sequence, hash, sealed, chain, NULL, NULL, NULL FROM erasures WHERE sequence = 3",
        "UPDATE erasures SET (hash, sealed) = (SELECT randomblob(32), sealed FROM erasures WHERE tenant = 'globex') WHERE sequence = 4",
      ),
      audit: ['broken_link 4', 'broken_seal 4', 'entry_missing #4'],
    },
  },
  'an entry that the records have not applied': {
    'content changed': {
      from: 'lagging',
      tamper: sql('keys', 'UPDATE erasures SET sealed = randomblob(length(sealed)) WHERE sequence = 6'),
      start: ['broken_link 6', 'broken_seal 6'],
      audit: ['broken_link 6', 'broken_seal 6', 'record_differs_from_entry #6'],
    },
    'chain changed': {
      from: 'lagging',
      tamper: sql('keys', 'UPDATE erasures SET chain = randomblob(32) WHERE sequence = 6'),
      start: ['broken_link 6', 'broken_link 7'],
      audit: ['broken_link 6', 'broken_link 7'],
    },
    'removed, and its row has it': {
      from: 'lagging',
      tamper: sql('keys', 'DELETE FROM erasures WHERE sequence = 6'),
      start: ['broken_link 7'],
      audit: ['broken_link 7'],
    },
    'swapped with the next one': {
      from: 'lagging',
      tamper: sql(
        'keys',
        'UPDATE erasures SET sequence = 99 WHERE sequence = 6',
        'UPDATE erasures SET sequence = 6 WHERE sequence = 7',
        'UPDATE erasures SET sequence = 7 WHERE sequence = 99',
      ),
      start: ['broken_link 6', 'broken_link 7'],
      audit: ['broken_link 6', 'broken_link 7'],
    },
    'inserted without the root key': {
      tamper: sql(
        'keys',
        "INSERT INTO erasures VALUES ('acme', 6, randomblob(32), randomblob(99), randomblob(32), NULL, NULL, NULL)",
        'UPDATE erasure_heads SET (sequence, chain) = (SELECT sequence, chain FROM erasures WHERE sequence = 6)',
      ),
      start: ['broken_link 6', 'broken_seal 6'],
      audit: ['broken_link 6', 'broken_seal 6'],
    },
  },
  'the end of the log': {
    'cut off, further back than the position': {
      tamper: sql('keys', ...cutOff(3)),
      start: ['keys_older_than_records'],
    },
    'cut off, and the position moved back': {
      tamper: both(sql('keys', ...cutOff(3)), (tools) => {
        const { sequence, chain } = tools.keys.prepare('SELECT * FROM erasure_heads').get() as {
          sequence: number;
          chain: Buffer;
        };
        tools.data.prepare('UPDATE erasure_positions SET sequence = ?, chain = ?').run(sequence, chain);
      }),
    },
    'cut off with the head left': {
      tamper: sql('keys', 'DELETE FROM erasures WHERE sequence > 3'),
      audit: ['position_mismatch 5', 'head_mismatch 5', 'entry_missing #4', 'entry_missing #5'],
    },
    'cut off no further back than the records know': {
      from: 'begun',
      tamper: both(sql('keys', ...cutOff(7)), olderRows('keys', 'lagging', 'data_keys', 'number = 8')),
      back: [8],
    },
    'the same, without the key': {
      from: 'begun',
      tamper: sql('keys', ...cutOff(7)),
      audit: ['key_missing #8'],
      lost: [8],
    },
  },
  'a fork made with the root key': {
    'of the log alone': {
      tamper: (tools) => {
        reseal(tools, 4);
        forge(tools, 4);
      },
      start: ['keys_and_records_mismatch'],
    },
    'of the log and the records': {
      tamper: (tools) => {
        const sealed = reseal(tools, 4);
        forge(tools, 4);
        const { chain } = tools.keys.prepare('SELECT chain FROM erasure_heads').get() as { chain: Buffer };
        tools.data.prepare('UPDATE customers SET sealed = ? WHERE erasure = 4').run(sealed);
        tools.data.prepare('UPDATE erasure_positions SET chain = ?').run(chain);
      },
    },
  },
  'the head': {
    'chain changed': {
      tamper: sql('keys', 'UPDATE erasure_heads SET chain = randomblob(32)'),
      start: ['broken_link 5'],
    },
    'moved back': {
      tamper: sql(
        'keys',
        'UPDATE erasure_heads SET (sequence, chain) = (SELECT sequence, chain FROM erasures WHERE sequence = 4)',
      ),
      start: ['keys_older_than_records'],
    },
    'moved on': {
      tamper: sql('keys', 'UPDATE erasure_heads SET sequence = 6'),
      start: ['broken_link 6'],
      audit: ['head_mismatch 6'],
    },
    removed: {
      tamper: sql('keys', 'DELETE FROM erasure_heads'),
      start: ['keys_older_than_records'],
    },
  },
  'the position': {
    'chain changed': {
      tamper: sql('data', 'UPDATE erasure_positions SET chain = randomblob(32)'),
      start: ['keys_and_records_mismatch'],
    },
    'moved on': {
      tamper: sql('data', 'UPDATE erasure_positions SET sequence = 7'),
      start: ['keys_older_than_records', 'unknown_erasures 2'],
    },
    'moved back': {
      tamper: (tools) => {
        const { chain } = tools.keys.prepare('SELECT chain FROM erasures WHERE sequence = 2').get() as {
          chain: Buffer;
        };
        tools.data.prepare('UPDATE erasure_positions SET sequence = 2, chain = ?').run(chain);
      },
    },
    removed: { tamper: sql('data', 'DELETE FROM erasure_positions') },
  },
  'data keys': {
    'one of a living customer removed': {
      tamper: sql('keys', 'DELETE FROM data_keys WHERE number = 9'),
      audit: ['key_missing #9'],
      lost: [9],
    },
    'one of a living customer changed': {
      tamper: sql('keys', 'UPDATE data_keys SET wrapped = randomblob(length(wrapped)) WHERE number = 9'),
      audit: ['unreadable_record #9'],
      lost: [9],
    },
    'two of living customers swapped': {
      tamper: swap('keys', 'data_keys', 'wrapped', 9, 10),
      audit: ['unreadable_record #9', 'unreadable_record #10'],
      lost: [9, 10],
    },
    'one of an erased customer put back': {
      tamper: olderRows('keys', 'early', 'data_keys', 'number = 3'),
      audit: ['key_of_erased 3 #3'],
    },
    'one of an erased customer put back, and its record': {
      tamper: both(
        olderRows('keys', 'early', 'data_keys', 'number = 3'),
        olderRows('data', 'early', 'customers', 'number = 3'),
      ),
      audit: ['key_of_erased 3 #3', 'key_of_erased #3'],
      back: [3],
    },
  },
  records: {
    'sealed bytes of a living one changed': {
      tamper: sql('data', 'UPDATE customers SET sealed = randomblob(length(sealed)) WHERE number = 9'),
      audit: ['unreadable_record #9'],
      lost: [9],
    },
    'sealed bytes of two living ones swapped': {
      tamper: swap('data', 'customers', 'sealed', 9, 10),
      audit: ['unreadable_record #9', 'unreadable_record #10'],
      lost: [9, 10],
    },
    'sealed bytes of an erased one changed': {
      tamper: sql('data', 'UPDATE customers SET sealed = randomblob(length(sealed)) WHERE number = 3'),
      audit: ['record_differs_from_entry #3'],
      lost: [3],
    },
    'sealed bytes of an erased one changed, with older keys': {
      tamper: both(
        older('keys', 'early'),
        sql('data', 'UPDATE customers SET sealed = randomblob(length(sealed)) WHERE number = 3'),
      ),
      start: ['keys_older_than_records', 'broken_seal 3'],
    },
    'sealed bytes of two erased ones swapped': {
      tamper: swap('data', 'customers', 'sealed', 2, 3),
      audit: ['record_differs_from_entry #2', 'record_differs_from_entry #3'],
      lost: [2, 3],
    },
    'sequence of an erased one changed to a lower one': {
      tamper: sql('data', 'UPDATE customers SET erasure = 2 WHERE number = 3'),
      audit: ['record_differs_from_entry #3'],
    },
    'sequence of an erased one changed to a higher one, which a start corrects': {
      tamper: sql('data', 'UPDATE customers SET erasure = 99 WHERE number = 3'),
    },
    'sequence of an erased one removed': {
      tamper: sql('data', 'UPDATE customers SET erasure = NULL WHERE number = 3'),
      audit: ['record_differs_from_entry #3'],
    },
    'a living one marked as erased': {
      tamper: sql('data', 'UPDATE customers SET erasure = 3 WHERE number = 9'),
      audit: ['entry_missing #9'],
      lost: [9],
    },
    'a living one marked as erased, beyond the log': {
      tamper: sql('data', 'UPDATE customers SET erasure = 99 WHERE number = 9'),
      start: ['broken_seal 99'],
      audit: ['entry_missing #9'],
      lost: [9],
    },
    'an older version of an erased one put back': {
      tamper: olderRows('data', 'early', 'customers', 'number = 3'),
      audit: ['record_differs_from_entry #3'],
    },
    'an erased one removed': { tamper: sql('data', 'DELETE FROM customers WHERE number = 3'), lost: [3] },
  },
  'backups of the keys that were used': {
    'one forgotten': {
      tamper: sql('keys', 'INSERT INTO key_copies_used VALUES (1, 2)', 'DELETE FROM key_copies_used'),
    },
    'one invented': { tamper: sql('keys', 'INSERT INTO key_copies_used VALUES (1, NULL)') },
  },
  'an older copy': {
    'of the keys': {
      tamper: older('keys', 'early'),
      start: ['keys_older_than_records'],
    },
    'of the keys, to records that lag': {
      from: 'lagging',
      tamper: older('keys', 'settled'),
    },
    'of the records': { tamper: older('data', 'early') },
    'of both': {
      from: 'lagging',
      tamper: both(older('keys', 'early'), older('data', 'early')),
      back: [3, 4, 5, 6, 7],
    },
  },
};

const erasedAt: Record<Time, readonly number[]> = {
  early: [1, 2],
  settled: [1, 2, 3, 4, 5],
  lagging: [1, 2, 3, 4, 5, 6, 7],
  begun: [1, 2, 3, 4, 5, 6, 7, 8],
};

interface Finding {
  readonly kind: string;
  readonly sequence?: number;
  readonly count?: number;
  readonly number?: number;
}
const inWords = (findings: readonly Finding[]): string[] =>
  findings.map(({ kind, sequence, count, number }) =>
    [kind, sequence ?? count, number && `#${number}`].filter((word) => word !== undefined).join(' '),
  );

t.test('tampering', async (t) => {
  const folder = newFolder(t);
  const copies = await history(folder);
  const at = Object.fromEntries(times.map((time) => [time, sqliteFiles(copies[time])])) as unknown as Tools['at'];
  const { vault, deployment, database } = await open(copies.early);
  await database.close();
  for (const [subject, kinds] of Object.entries(cases)) {
    for (const [
      kind,
      { from = 'settled', tamper, start = [], audit = [], lost = [], back = [], isBlocked },
    ] of Object.entries(kinds)) {
      await t.test(`${subject}: ${kind}`, async (t) => {
        const dataDir = `${folder}-${subject}-${kind}`.replaceAll(/[ ,:]+/g, '-');
        copyFolder(copies[from], dataDir);
        const { keys: keysFile, data: dataFile } = sqliteFiles(dataDir);
        withRawSqlite(keysFile, (keys) =>
          withRawSqlite(dataFile, (data) => tamper({ keys, data, at, vault, deployment })),
        );

        const opened = await open(dataDir);
        t.teardown(() => opened.database.close());
        t.same(inWords((await opened.recovery.recover(tenant)).findings), start, 'a start');
        t.same(inWords((await opened.audit.verify(tenant)).findings), audit, 'an audit');

        const readable: number[] = [];
        const unreadable: number[] = [];
        for (let number = 1; number <= customers; number += 1) {
          const stored = await opened.acme.find(urnOf(number)).catch(() => undefined);
          if (stored === undefined) unreadable.push(number);
          else if (!isAnonymized(stored.customer)) readable.push(number);
        }
        const living = Array.from({ length: customers }, (_, index) => index + 1).filter(
          (number) => !lost.includes(number) && (back.includes(number) || !erasedAt[from].includes(number)),
        );
        t.same(readable, living, 'readable customers');
        t.same(unreadable, lost, 'customers that cannot be read');
        const erasing = opened.acme.erase(urnOf(11));
        if (isBlocked) await t.rejects(erasing, DatabaseFailure);
        else t.match(await erasing, { code: 'SUCCESS' }, 'others can be erased');
      });
    }
  }
});
