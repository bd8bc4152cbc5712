/** A deployment whose change events are checked: a tenant, its checkpoints and the audit, over any database. */
import { setImmediate } from 'node:timers/promises';
import type { Test } from 'tap';
import { sqliteFiles } from '../../../src/adapters/sql/driver/sqlite.ts';
import { AuditCheckpoints } from '../../../src/application/audit/checkpoints.ts';
import { type CheckpointWitness, EventAudit } from '../../../src/application/audit/event-audit.ts';
import type { EventFinding } from '../../../src/application/audit/findings.ts';
import { newPlaces, withRawPostgres } from '../../support/postgres.ts';
import {
  byExternalId,
  byUrn,
  connectPostgres,
  connectSqlite,
  newFolder,
  noon,
  overwrite,
  tenantId,
  tenantOf,
  withRawSqlite,
} from '../../support/storage.ts';

export const acme = tenantId('acme');

type Opened = Awaited<ReturnType<typeof connectSqlite>> | Awaited<ReturnType<typeof connectPostgres>>;

/** The use cases over a storage. */
function audited({ repository, trail, checkpoints, vault, directory, customers }: Opened) {
  const dependencies = { repository, trail, checkpoints, signer: vault };
  const making = new AuditCheckpoints({ ...dependencies, clock: () => noon });
  const audit = new EventAudit(dependencies);
  return {
    repository,
    checkpoints,
    trail,
    directory,
    vault,
    side: tenantOf(repository, acme),
    make: () => making.make(acme),
    verify: (witnesses?: readonly CheckpointWitness[]) => audit.verify(acme, witnesses),
    verifyLog: async () => (await customers.audit.verify(acme)).findings,
  };
}
export type Audited = ReturnType<typeof audited>;

/** One storage: `open` connects to it, and `raw` changes the tables of the records, or of the keys, directly. */
export interface Place {
  open(t: Test): Promise<Audited>;
  raw(sql: string, part?: 'keys' | 'data'): Promise<void>;
}

/** A new storage of each kind. In raw SQL, tables of PostgreSQL are found without their schema. */
export const places: Readonly<Record<string, (t: Test) => Promise<Place>>> = {
  async SQLite(t) {
    const path = newFolder(t);
    return {
      open: async (t) => audited(await connectSqlite(t, path)),
      async raw(sql, part = 'data') {
        withRawSqlite(sqliteFiles(path)[part], (raw) => raw.exec(sql));
        // The reads of one event-loop turn share a snapshot.
        await setImmediate();
      },
    };
  },
  ...Object.fromEntries(
    Object.entries(newPlaces).map(([name, make]) => [
      `PostgreSQL, ${name}`,
      async (t: Test) => {
        const place: { url: string; keysUrl?: string } = await make(t);
        return {
          open: async (t: Test) => audited(await connectPostgres(t, place)),
          async raw(sql: string, part = 'data') {
            const url = part === 'keys' ? (place.keysUrl ?? place.url) : place.url;
            await withRawPostgres(url, `set search_path = c2a, c2a_keys; ${sql}`);
          },
        };
      },
    ]),
  ),
};

/**
 * Customers 1 to 9 (positions 1 to 9), and a checkpoint. 1 updated (10), 2 and 3 erased (11, 12), 4 merged into 5 (13),
 * 6 updated (14), and a checkpoint. 1 updated (15), 6 updated three times (16, 17, 18), and a checkpoint. 7 updated (19),
 * 8 erased (20), which no checkpoint covers. All erasures are finished.
 */
export async function history({ side, make, repository }: Audited): Promise<void> {
  /** Assigns the position. */
  const numbered = async (change: Promise<{ readonly code: string }>) => {
    const { code } = await change;
    if (code !== 'SUCCESS') throw new Error(code);
    await repository.lastChange(acme);
  };
  const update = (name: number, lastName: string) =>
    numbered(side.update(byExternalId(`crm-${name}`), overwrite({ lastName })));
  const erase = (name: number) => numbered(side.erase(byExternalId(`crm-${name}`)));
  for (let name = 1; name <= 9; name += 1) await numbered(side.store(`crm-${name}`, { firstName: 'Jane' }));
  await make();
  await update(1, 'Doe');
  await erase(2);
  await erase(3);
  await numbered(side.merge(byUrn('cu.00.4'), byUrn('cu.00.5')));
  await update(6, 'Doe');
  await make();
  await update(1, 'Roe');
  for (const lastName of ['A', 'B', 'C']) await update(6, lastName);
  await make();
  await update(7, 'Doe');
  await erase(8);
  await repository.recoverErasures(acme);
}

/** Findings as one line each. */
export const inWords = (findings: readonly (EventFinding | { kind: string })[]): string[] =>
  findings.map((finding) => {
    const { kind, checkpoint, sequence, position, was, count, customerUrn, version } = finding as EventFinding;
    const words = [
      kind,
      checkpoint && `checkpoint ${checkpoint}`,
      sequence && `entry ${sequence}`,
      position && `@${position}`,
      was && `was ${was}`,
      count && `x${count}`,
      customerUrn?.replace('cu.00.', '#'),
      version && `v${version}`,
    ];
    return words.filter(Boolean).join(' ');
  });
