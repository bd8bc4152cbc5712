/** Rows of an import whose unique values pass from one customer to another. */
import t, { type Test } from 'tap';
import { storing } from '../../support/client.ts';
import { type Service, startService } from '../../support/service.ts';

type Fields = Readonly<Record<string, unknown>>;
const row = (externalIdentifier: string, fields: Fields = {}) => storing({ externalIdentifier, ...fields });
const mail = (name: string) => ({ email: `${name}@example.com` });
const phone = (digit: number) => ({ phoneNumber: `+493000000${digit}` });
const filler = Array.from({ length: 300 }, (_, index) => row(`filler-${index}`));

/** `line outcome` of each answer, in the order of the lines; without the filler's. */
const outcomesOf = (body: readonly { line: number; outcome: string }[], from = Infinity, to = 0) =>
  body
    .slice(0, -1)
    .filter(({ line }) => line <= from || line >= to)
    .sort((one, other) => one.line - other.line)
    .map(({ outcome }) => outcome);

async function contactsOf(service: Service): Promise<string[]> {
  const lines = (await service.export()).body.slice(0, -1) as Record<string, string>[];
  return lines
    .filter(({ externalIdentifier }) => !externalIdentifier?.startsWith('filler'))
    .map(({ externalIdentifier, email = '', phoneNumber = '' }) =>
      [externalIdentifier, email.split('@')[0], phoneNumber.slice(-1)].filter(Boolean).join(' '),
    )
    .sort();
}

interface Case {
  readonly before: readonly object[];
  readonly rows: readonly object[];
  readonly outcomes: readonly string[];
  readonly after: readonly string[];
  /** The file has no meaning if it is sent again: it names a customer that it creates then. */
  readonly once?: true;
}
const updated = (count: number) => Array(count).fill('updated');

const cases: Record<string, Case> = {
  'two customers exchange their e-mail addresses': {
    before: [row('a', mail('a')), row('b', mail('b'))],
    rows: [row('a', mail('b')), row('b', mail('a'))],
    outcomes: updated(2),
    after: ['a b', 'b a'],
  },
  'three customers in a cycle over e-mail address and phone number': {
    before: [row('a', { ...mail('a'), ...phone(1) }), row('b', { ...mail('b'), ...phone(2) }), row('c', phone(3))],
    rows: [row('a', { ...mail('b'), ...phone(2) }), row('b', phone(3)), row('c', { ...mail('a'), ...phone(1) })],
    outcomes: updated(3),
    after: ['a b 2', 'b 3', 'c a 1'],
  },
  'a chain in the worst order': {
    before: ['a', 'b', 'c', 'd', 'e'].map((id) => row(id, mail(id))),
    rows: [
      ['a', 'b'],
      ['b', 'c'],
      ['c', 'd'],
      ['d', 'e'],
      ['e', 'f'],
    ].map(([id, to]) => row(`${id}`, mail(`${to}`))),
    outcomes: updated(5),
    after: ['a b', 'b c', 'c d', 'd e', 'e f'],
  },
  'a new customer takes what a later row frees': {
    before: [row('a', mail('a')), row('b', phone(1))],
    rows: [row('new', mail('a')), row('newer', phone(1)), row('a', mail('b')), { delete: { externalIdentifier: 'b' } }],
    outcomes: ['created', 'created', 'updated', 'erased'],
    after: ['a b', 'new a', 'newer 1'],
  },
  'ExternalIds are exchanged by CustomerUrn': {
    before: [row('a', mail('a')), row('b', mail('b'))],
    rows: [row('b', { customerUrn: 'cu.00.1', ...mail('a') }), row('a', { customerUrn: 'cu.00.2', ...mail('b') })],
    outcomes: updated(2),
    after: ['a b', 'b a'],
  },
  'two cycles, one of which has a row that is refused': {
    before: ['a', 'b', 'c', 'd', 'e'].map((id) => row(id, mail(id))),
    rows: [
      row('a', mail('b')),
      row('b', { ...mail('c'), firstName: 7 }),
      row('c', mail('a')),
      row('d', mail('e')),
      row('e', mail('d')),
    ],
    outcomes: ['refused', 'refused', 'refused', 'updated', 'updated'],
    after: ['a a', 'b b', 'c c', 'd e', 'e d'],
  },
  'a third customer wants what is exchanged': {
    before: ['a', 'b', 'c'].map((id) => row(id, mail(id))),
    rows: [row('c', mail('a')), row('a', mail('b')), row('b', mail('a'))],
    outcomes: ['refused', 'updated', 'updated'],
    after: ['a b', 'b a', 'c c'],
  },
  'a customer waits for an exchange': {
    before: [row('a', { ...mail('a'), ...phone(1) }), row('b', mail('b')), row('c')],
    rows: [row('c', phone(1)), row('a', mail('b')), row('b', mail('a'))],
    outcomes: updated(3),
    after: ['a b', 'b a', 'c 1'],
  },
  'a later row about the same customer supersedes a deferred one': {
    before: [row('a', mail('a')), row('b', mail('b'))],
    rows: [row('a', mail('b')), row('a', mail('c')), row('b')],
    outcomes: ['refused', 'updated', 'updated'],
    after: ['a c', 'b'],
  },
  'a later row that is refused does not supersede a deferred one': {
    before: [row('a', mail('a')), row('b', mail('b'))],
    rows: [row('a', mail('b')), row('a', mail('nobody at')), row('b')],
    outcomes: ['updated', 'refused', 'updated'],
    after: ['a b', 'b'],
  },
  'a deferred row does not bring back a customer that a later row erases or renames by its CustomerUrn': {
    before: [row('a', mail('a')), row('b', mail('b')), row('c', mail('c'))],
    rows: [
      row('a', mail('b')),
      row('c', mail('b')),
      { delete: { customerUrn: 'cu.00.1' } },
      row('d', { customerUrn: 'cu.00.3' }),
      row('b'),
    ],
    outcomes: ['refused', 'refused', 'erased', 'updated', 'updated'],
    after: ['b', 'd'],
    once: true,
  },
  'of rows with source revisions the highest wins, also if it is deferred': {
    before: [{ ...row('a', mail('a')), sourceRevision: 1 }, row('b', mail('b'))],
    rows: [{ ...row('a', mail('b')), sourceRevision: 5 }, { ...row('a', mail('c')), sourceRevision: 3 }, row('b')],
    outcomes: updated(3),
    after: ['a b', 'b'],
  },
  'a deferred row is stale once its customer is exchanged with a higher revision': {
    before: ['a', 'b', 'x'].map((id) => row(id, mail(id))),
    rows: [
      { ...row('a', mail('x')), sourceRevision: 1 },
      { ...row('a', mail('b')), sourceRevision: 2 },
      { ...row('b', mail('a')), sourceRevision: 1 },
    ],
    outcomes: ['stale', 'updated', 'updated'],
    after: ['a b', 'b a', 'x x'],
  },
  'a later row that gives its customer the ExternalId of a deferred row supersedes that': {
    before: [row('old', mail('o')), row('h', mail('e'))],
    rows: [row('y', mail('e')), row('y', { customerUrn: 'cu.00.1', ...mail('o') }), row('h', mail('f'))],
    outcomes: ['refused', 'updated', 'updated'],
    after: ['h f', 'y o'],
    once: true,
  },
  'a deferred row is stale if its customer is erased with a higher revision': {
    before: [{ ...row('a', mail('a')), sourceRevision: 1 }, row('b', mail('b'))],
    rows: [
      { ...row('a', mail('b')), sourceRevision: 5 },
      { delete: { externalIdentifier: 'a', sourceRevision: 6 } },
      row('b'),
    ],
    outcomes: ['stale', 'erased', 'updated'],
    after: ['b'],
  },
};

for (const storage of ['memory', 'sqlite'] as const) {
  t.test(storage, async (t) => {
    const start = (test: Test) =>
      startService(test, { storage, ...(storage === 'sqlite' && { dataDir: test.testdir({}) }) });
    for (const [name, { before, rows, outcomes, after, once }] of Object.entries(cases)) {
      t.test(name, async (t) => {
        const stored = async () => {
          const service = await start(t);
          await service.import(before);
          service.clock.now += 1_000;
          return service;
        };
        const service = await stored();
        const dryRun = (await service.import(rows, { dryRun: 'true' })).body;
        const { body } = await service.import(rows);
        t.strictSame(outcomesOf(body), outcomes, 'in one batch');
        t.strictSame(outcomesOf(dryRun), outcomes, 'a dry run');
        t.strictSame(await contactsOf(service), after);
        const again = once ? [] : (await service.import(rows)).body;
        t.strictSame(await contactsOf(service), after, `sent again: ${outcomesOf(again)}`);

        const other = await stored();
        const spread = [rows[0] as object, ...filler, ...rows.slice(1)];
        const apart = await other.import(spread);
        t.strictSame(outcomesOf(apart.body, 1, 302), outcomes, 'over several batches');
        t.strictSame(await contactsOf(other), after);
      });
    }
  });
}

t.test('more rows wait than memory may hold', async (t) => {
  const service = await startService(t);
  await service.import([row('a', mail('a'))]);
  const rows = Array.from({ length: 10_300 }, (_, index) => row(`crm-${index}`, mail('a')));
  const { body } = await service.import([...rows, row('a', mail('b'))]);
  t.strictSame(body.at(-1).summary, { created: 1, updated: 1, unchanged: 0, stale: 0, erased: 0, refused: 10_299 });
});
