/**
 * Somebody changes the tables of a deployment: what `audit verify` sees of it in the change events, their checkpoints, the
 * records and the erasure log. The table is that of docs/decisions/0044-audit-checkpoints.md.
 */
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { checkpointHash } from '../../src/application/audit/checkpoints.ts';
import type { CheckpointWitness } from '../../src/application/audit/event-audit.ts';
import type { Checkpoint } from '../../src/application/ports/checkpoints.ts';
import { byExternalId, overwrite } from '../support/storage.ts';
import { type Audited, acme, history, inWords, type Place, places } from './support/audited.ts';

interface Case {
  readonly sql: readonly string[];
  readonly keys?: readonly string[];
  readonly finds: readonly string[];
  /** On PostgreSQL, which assigns positions later, if it finds something else. */
  readonly postgres?: readonly string[];
  /** What it finds besides with the newest checkpoint from before. */
  readonly witness?: readonly string[];
}

const body = (position: number, from: string, to: string) =>
  `update changes set body = replace(body, '${from}', '${to}') where position = ${position}`;
const swap = (one: number, other: number) => [
  `update changes set position = 99 where position = ${one}`,
  `update changes set position = ${one} where position = ${other}`,
  `update changes set position = ${other} where position = 99`,
];
const shift = (from: number, by: number) => [
  `update changes set position = -position where position >= ${from}`,
  `update changes set position = -position + (${by}) where position < 0`,
];
const insert = (position: number) =>
  'insert into changes (tenant, number, version, position, id, at, body) ' +
  `select tenant, 9, 2, ${position}, 'forged', at, body from changes where version = 2 and number = 1`;

const cases: Record<string, Case> = {
  'nothing changed': { sql: [], finds: [] },
  'the body of an event changed': {
    sql: [body(10, 'customer.updated', 'customer.stored')],
    finds: ['event_changed @10 #1 v2'],
  },
  'the body replaced with no JSON': {
    sql: [`update changes set body = 'x' where position = 10`],
    finds: ['event_changed @10 #1 v2'],
  },
  'the actor of an event changed': { sql: [body(5, 'keyId', 'keyid')], finds: ['event_changed @5 #5 v1'] },
  'the time of an event changed': {
    sql: ['update changes set at = at + 1 where position = 18'],
    finds: ['event_changed @18 #6 v5'],
  },
  'the id of an event changed': {
    sql: [`update changes set id = 'other' where position = 1`],
    finds: ['event_changed @1 #1 v1'],
  },
  'the version of an event changed': {
    sql: ['update changes set version = 9 where position = 10'],
    finds: ['event_changed @10 #1 v9', 'version_gap #1', 'record_differs_from_events #1 v9'],
  },
  'two events given to each other': {
    sql: [
      'update changes set number = 99 where position = 1',
      'update changes set number = 1 where position = 9',
      'update changes set number = 9 where position = 1',
    ],
    finds: ['event_changed @1 #9 v1', 'event_changed @9 #1 v1'],
  },
  'an event removed': {
    sql: ['delete from changes where position = 10'],
    finds: ['event_removed @10', 'version_gap #1'],
  },
  'an event removed, and the later ones moved up': {
    sql: ['delete from changes where position = 10', ...shift(11, -1)],
    finds: [
      'event_removed @10',
      'event_reordered @10 was 11 x8 #2 v2',
      'event_inserted @18 #7 v2',
      'position_gap @20 x1',
      'version_gap #1',
    ],
  },
  'all events of a customer removed, and its record': {
    sql: ['delete from changes where number = 9', 'delete from customers where number = 9'],
    finds: ['event_removed @9'],
  },
  'an event inserted, and the later ones moved': {
    sql: [...shift(5, 1), insert(5)],
    finds: [
      'feed_end_mismatch @21',
      'event_inserted @5 #9 v2',
      'event_reordered @6 was 5 x14 #5 v1',
      'record_differs_from_events #9 v2',
    ],
  },
  'an event inserted at the end, where no checkpoint covers it': {
    sql: [insert(21)],
    finds: ['feed_end_mismatch @21', 'record_differs_from_events #9 v2'],
  },
  'an event of no customer inserted at the end': {
    sql: [insert(21).replace('tenant, 9,', 'tenant, 77,')],
    finds: ['feed_end_mismatch @21', 'version_gap #77', 'record_differs_from_events #77 v2'],
  },
  'an event put in the place of another': {
    sql: ['delete from changes where position = 5', insert(5)],
    finds: ['event_changed @5 #9 v2', 'record_differs_from_events #5 v1', 'record_differs_from_events #9 v2'],
  },
  'two events of different checkpoints swapped': {
    sql: swap(5, 12),
    finds: ['event_reordered @5 was 12 x1 #3 v2', 'event_reordered @12 was 5 x1 #5 v1'],
  },
  'two neighbors swapped': {
    sql: swap(16, 17),
    finds: ['event_reordered @16 was 17 x1 #6 v4', 'event_reordered @17 was 16 x1 #6 v3'],
  },
  'an event swapped with one that no checkpoint covers': {
    sql: swap(5, 19),
    finds: ['event_inserted @5 #7 v2', 'event_reordered @19 was 5 x1 #5 v1'],
  },
  'an event moved behind the end': {
    sql: ['update changes set position = 22 where position = 10'],
    finds: ['feed_end_mismatch @22', 'position_gap @21 x1', 'event_reordered @22 was 10 x1 #1 v2'],
  },
  'the position of an event removed': {
    sql: ['update changes set position = null where position = 10'],
    finds: ['event_removed @10', 'event_without_position x1 #1'],
    postgres: ['event_reordered @21 was 10 x1 #1 v2'],
  },
  'all events renumbered': {
    sql: shift(1, 3),
    finds: ['feed_end_mismatch @23', 'event_reordered @4 was 1 x18 #1 v1'],
  },
  'an event removed that no checkpoint covers': {
    sql: ['delete from changes where position = 19'],
    finds: ['position_gap @19 x1', 'record_differs_from_events #7 v1'],
  },
  'a checkpoint changed': {
    sql: ['update checkpoints set at = at + 1 where sequence = 2'],
    finds: ['broken_checkpoint checkpoint 2'],
  },
  'a checkpoint shortened': {
    sql: ['update checkpoints set through = 13 where sequence = 2'],
    finds: ['broken_checkpoint checkpoint 2'],
  },
  'the first checkpoint removed': {
    sql: ['delete from checkpoints where sequence = 1'],
    finds: ['checkpoint_missing checkpoint 1 x1'],
  },
  'a checkpoint removed': {
    sql: ['delete from checkpoints where sequence = 2'],
    finds: ['checkpoint_missing checkpoint 2 x1'],
  },
  'a checkpoint removed, and the next one renumbered': {
    sql: ['delete from checkpoints where sequence = 2', 'update checkpoints set sequence = 2 where sequence = 3'],
    finds: ['broken_checkpoint checkpoint 2'],
    witness: ['checkpoint_witness_mismatch checkpoint 3'],
  },
  'the last checkpoint removed': {
    sql: ['delete from checkpoints where sequence = 3'],
    finds: [],
    witness: ['checkpoint_witness_mismatch checkpoint 3'],
  },
  'all checkpoints removed': {
    sql: ['delete from checkpoints'],
    finds: [],
    witness: ['checkpoint_witness_mismatch checkpoint 3'],
  },
  'two signatures exchanged': {
    sql: [
      'create table exchanged as select sequence, signature from checkpoints',
      'update checkpoints set signature = (select signature from exchanged where exchanged.sequence = 3 - checkpoints.sequence) where sequence < 3',
      'drop table exchanged',
    ],
    finds: ['broken_checkpoint checkpoint 1', 'broken_checkpoint checkpoint 2'],
  },
  'a checkpoint of another tenant': {
    sql: [`update checkpoints set tenant = 'globex' where sequence = 3`],
    finds: [],
    witness: ['checkpoint_witness_mismatch checkpoint 3'],
  },
  'the version of a record changed': {
    sql: ['update customers set version = 7 where number = 9'],
    finds: ['record_differs_from_events #9 v1'],
  },
  'a record removed': {
    sql: ['delete from customers where number = 9'],
    finds: ['record_differs_from_events #9 v1'],
  },
  'the record of an erased customer removed': {
    sql: ['delete from customers where number = 3'],
    finds: ['record_differs_from_events #3 v2'],
  },
  'the event of an erasure changed': {
    sql: [body(11, 'customer.anonymized', 'customer.updated')],
    finds: ['event_changed @11 #2 v2', 'record_differs_from_events #2 v2', 'entry_without_event entry 1 #2'],
  },
  'an update changed to an erasure': {
    sql: [body(19, 'customer.updated', 'customer.anonymized')],
    finds: ['record_differs_from_events #7 v2', 'event_without_entry #7 v2'],
  },
  'the entry of a merge removed from the erasure log': {
    sql: [],
    keys: ['delete from erasures where sequence = 3'],
    finds: ['checkpoint_erasure_mismatch checkpoint 2 entry 3', 'event_without_entry #4 v2'],
  },
  'the end of the erasure log cut off, also in the records': {
    sql: ['delete from erasure_positions'],
    keys: ['delete from erasures where sequence > 2'],
    finds: [
      'checkpoint_erasure_mismatch checkpoint 2 entry 3',
      'event_without_entry #4 v2',
      'event_without_entry #8 v2',
    ],
  },
};

const saved = {
  data: ['changes', 'feeds', 'customers', 'checkpoints', 'erasure_positions'],
  keys: ['erasures', 'erasure_heads'],
} as const;

/** Saves the tables; returns a function that puts them back. */
async function save({ raw }: Place): Promise<() => Promise<void>> {
  for (const part of ['data', 'keys'] as const) {
    await raw(saved[part].map((table) => `create table saved_${table} as select * from ${table}`).join(';'), part);
  }
  return async () => {
    for (const part of ['data', 'keys'] as const) {
      const statements = saved[part].map(
        (table) => `delete from ${table}; insert into ${table} select * from saved_${table}`,
      );
      await raw(statements.join(';'), part);
    }
  };
}

async function prepared(t: Test, make: (t: Test) => Promise<Place>) {
  const place = await make(t);
  const opened = await place.open(t);
  await history(opened);
  const sound = await opened.verify();
  return { place, opened, restore: await save(place), sound, newest: sound.newest as CheckpointWitness };
}

for (const [name, make] of Object.entries(places)) {
  t.test(name, async (t) => {
    const { place, opened, restore, sound, newest } = await prepared(t, make);
    t.match(sound, { events: 20, uncovered: 2, findings: [], newest: { tenant: acme, sequence: 3, through: 18 } });
    t.same(await opened.verifyLog(), []);
    for (const [kind, { sql, keys = [], finds, postgres = finds, witness = [] }] of Object.entries(cases)) {
      await t.test(kind, async (t) => {
        for (const statement of sql) await place.raw(statement);
        for (const statement of keys) await place.raw(statement, 'keys');
        const expected = name === 'SQLite' ? finds : postgres;
        t.same(inWords((await opened.verify()).findings), expected);
        const kinds = (await opened.verify([newest])).findings.map((finding) => inWords([finding])[0]);
        t.same(
          kinds.filter((words) => !expected.includes(words as string)),
          witness,
          'with a witness',
        );
        await restore();
        t.same(inWords((await opened.verify([newest])).findings), []);
      });
    }
  });
}

t.test('what only the signing key can do is seen by a witness alone', async (t) => {
  const { place, opened, restore, newest } = await prepared(t, places.SQLite as (typeof places)[string]);
  const [, second] = (await opened.checkpoints.list(acme, 0, 10)) as [Checkpoint, Checkpoint];
  const { signature: _, ...content } = second;
  const forged = { ...content, at: second.at + 1 };
  await place.raw('delete from checkpoints where sequence = 2');
  await opened.checkpoints.add(acme, {
    ...forged,
    signature: opened.vault.sign(checkpointHash(opened.vault, acme, forged)),
  });
  t.same(inWords((await opened.verify()).findings), ['broken_checkpoint_link checkpoint 3']);

  await restore();
  await place.raw('update changes set at = at + 1');
  await place.raw('delete from checkpoints');
  await opened.make();
  t.same(inWords((await opened.verify()).findings), [], 'everything made anew');
  t.same(inWords((await opened.verify([newest])).findings), ['checkpoint_witness_mismatch checkpoint 3']);
});

t.test('after a tampering, later events are covered all the same, and the finding stays', async (t) => {
  const { place, opened } = await prepared(t, places.SQLite as (typeof places)[string]);
  await place.raw('delete from changes where position = 19');
  await opened.make();
  await opened.side.update(byExternalId('crm-9'), overwrite({ lastName: 'Doe' }));
  await opened.make();
  const { uncovered, findings } = await opened.verify();
  t.equal(uncovered, 0);
  t.same(inWords(findings), ['position_gap @19 x1', 'record_differs_from_events #7 v1']);
  await place.raw('update changes set position = 1000000 where position = 21');
  await place.raw('delete from checkpoints where sequence = 5');
  t.equal(await opened.make(), 'gap');
});

/** One random change of the tables. Covered positions are 1 to 18. */
const covered = fc.integer({ min: 1, max: 18 });
const tampering = fc.oneof(
  covered.map((position) => [`update changes set body = body || ' ' where position = ${position}`]),
  fc.tuple(covered, covered).map(([one, other]) => (one === other ? [] : swap(one, other))),
  covered.map((position) => [`delete from changes where position = ${position}`]),
  covered.map((position) => [
    ...shift(position, 1),
    insert(position).replace('9, 2', '9, (select max(version) + 1 from changes)'),
  ]),
  covered.map((position) => shift(position, 1)),
  covered.map((position) => [`update changes set position = 200 + position where position = ${position}`]),
  fc.constant(['delete from checkpoints where sequence = (select max(sequence) from checkpoints)']),
  fc.constant([
    'create table exchanged as select sequence, signature from checkpoints',
    'update checkpoints set signature = (select signature from exchanged where exchanged.sequence = 5 - checkpoints.sequence) where sequence in (2, 3)',
    'drop table exchanged',
  ]),
);

for (const [name, runs] of [
  ['SQLite', 150],
  ['PostgreSQL, one database', 30],
] as const) {
  t.test(`${name}: every random tampering is found`, async (t) => {
    const { place, opened, restore, newest } = await prepared(t, places[name] as (typeof places)[string]);
    const state = async ({ trail, checkpoints }: Audited) =>
      JSON.stringify([await trail.events(acme, 0, 18), await checkpoints.list(acme, 0, 10)]);
    const before = await state(opened);
    await fc.assert(
      fc.asyncProperty(fc.array(tampering, { minLength: 1, maxLength: 4 }), async (tamperings) => {
        await restore();
        for (const statement of tamperings.flat()) await place.raw(statement).catch(ignoreMissing);
        const isChanged = (await state(opened)) !== before;
        const { findings } = await opened.verify([newest]);
        return isChanged === findings.length > 0;
      }),
      { numRuns: runs },
    );
    await restore();
    t.same((await opened.verify([newest])).findings, []);
  });
}

/** An exchange of signatures that are not there. */
function ignoreMissing(error: unknown): void {
  if (!/null/i.test(String(error))) throw error;
}
