/** A dry run of an import, and `validate` with a customer: they say what the real request does, and store nothing. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { claimedRegion, storing } from '../../support/client.ts';
import { type Service, startService } from '../../support/service.ts';

interface Answered {
  readonly line?: number;
  readonly outcome?: string;
  readonly customerUrn?: string;
  readonly version?: number;
  readonly changedFields?: readonly string[];
  readonly status?: { readonly conflicts?: readonly { readonly customerUrn?: string }[] };
}

/** Few values, so that rows collide. */
const ids = fc.constantFrom('a', 'b', 'c', 'd', 'e');
/** Stand for the CustomerUrns of the customers that are stored before; see `withUrns`. */
const urns = fc.constantFrom('urn-0', 'urn-1', 'urn-2');
const revisions = fc.option(fc.nat({ max: 4 }), { nil: undefined });
const syncs = fc
  .record({
    externalIdentifier: ids,
    customerUrn: fc.option(urns, { nil: undefined, freq: 4 }),
    email: fc.option(fc.constantFrom('a@x.de', 'b@x.de', 'C@x.de', 'c@x.de', 'invalid'), { nil: undefined }),
    phoneNumber: fc.option(fc.constantFrom('+493000000001', '+493000000002', '030 00000001'), { nil: undefined }),
    firstName: fc.option(fc.constantFrom('Jane', 'Joan'), { nil: undefined }),
    revision: revisions,
  })
  .map(({ revision, ...customer }) => ({
    customer,
    claimedRegion,
    ...(revision !== undefined && { sourceRevision: revision }),
  }));
const deletes = fc
  .tuple(
    fc.oneof(
      ids.map((externalIdentifier) => ({ externalIdentifier })),
      urns.map((customerUrn) => ({ customerUrn })),
    ),
    revisions,
  )
  .map(([by, revision]) => ({ delete: { ...by, ...(revision !== undefined && { sourceRevision: revision }) } }));
const rows = fc.array(fc.oneof({ weight: 4, arbitrary: syncs }, deletes), { minLength: 1, maxLength: 12 });

/** The first customer is merged into the second one. */
const merges = fc.array(
  fc
    .record({ from: urns, into: urns, sourceRevision: revisions })
    .map(({ sourceRevision, ...pair }) => ({ ...pair, ...(sourceRevision !== undefined && { sourceRevision }) })),
  { maxLength: 2 },
);

/** Everything that is stored, as far as the API shows it. */
const stored = async (service: Service) => (await service.export({ includeAnonymized: 'true' })).text;

/** The answers without what a dry run cannot know: the names of the customers that the run creates. */
function comparable(answers: readonly Answered[], known: ReadonlySet<string>) {
  return answers.map(({ customerUrn, version, ...answer }) => ({
    ...answer,
    ...(customerUrn !== undefined && known.has(customerUrn) && { customerUrn, version }),
    ...(answer.status?.conflicts && {
      status: {
        ...answer.status,
        conflicts: answer.status.conflicts.map(({ customerUrn: holder, ...conflict }) => ({
          ...conflict,
          ...(holder !== undefined && known.has(holder) && { customerUrn: holder }),
        })),
      },
    }),
  }));
}

const urnsIn = (text: string) => new Set(text.match(/cu\.00\.\d+/g));

/** Requests with these CustomerUrns. */
function withUrns<Requests>(requests: Requests, urns: ReadonlySet<string>): Requests {
  const known = [...urns];
  return JSON.parse(JSON.stringify(requests).replace(/urn-(\d)/g, (_, index) => known[index] ?? 'cu.00.999999'));
}

/** Makes a new tenant in each call, with these rows and merges. */
function preparing(service: Service) {
  let tenants = 0;
  return async (before: readonly object[], merged: readonly object[]) => {
    tenants += 1;
    const tenant = { ...service, ...(await service.tenant(`tenant-${tenants}`)) };
    await tenant.import(withUrns(before, new Set()));
    for (const merge of withUrns(merged, urnsIn(await stored(tenant)))) await tenant.post('merge', merge);
    return tenant;
  };
}

for (const storage of ['memory', 'sqlite'] as const) {
  const start = (test: Test) =>
    startService(test, { storage, ...(storage === 'sqlite' && { dataDir: test.testdir({}) }) });

  t.test(`${storage}: a dry run answers as the import of the same rows, and stores nothing`, async (t) => {
    const service = await start(t);
    const prepared = preparing(service);
    await fc.assert(
      fc.asyncProperty(rows, merges, rows, fc.boolean(), async (before, merged, after, complete) => {
        const tenant = await prepared(before, merged);
        service.clock.now += 1_000;
        const was = await stored(tenant);
        const known = urnsIn(was);
        const then = withUrns(after, known);
        const query = { complete: String(complete) };
        const dryRun = await tenant.import(then, { ...query, dryRun: 'true' });
        t.equal(await stored(tenant), was);
        const real = await tenant.import(then, query);
        t.strictSame(
          comparable(dryRun.body, known),
          comparable(real.body, known),
          JSON.stringify([before, merged, after]),
        );
        const madeUp = [...urnsIn(dryRun.text)].filter((urn) => !known.has(urn) && !JSON.stringify(then).includes(urn));
        t.strictSame(madeUp, []);
        if (!t.passing()) throw new Error('differs');
      }),
      { numRuns: storage === 'memory' ? 150 : 50 },
    );
  });

  t.test(`${storage}: validate with a customer says what sync does, and stores nothing`, async (t) => {
    const service = await start(t);
    const prepared = preparing(service);
    const requested = fc.array(syncs, { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(rows, merges, requested, async (before, merged, requests) => {
        const tenant = await prepared(before, merged);
        for (const request of withUrns(requests, urnsIn(await stored(tenant)))) {
          service.clock.now += 1_000;
          const was = await stored(tenant);
          const said = await tenant.post('validate', request);
          t.equal(await stored(tenant), was);
          const held = await tenant.post('validate', { externalId: request.customer.externalIdentifier });
          const done = await tenant.post('sync', request);
          const { isAvailable, result: preview, ...others } = said.body;
          const { result, ...rest } = done.body;
          t.equal(said.outcome, done.outcome);
          t.strictSame(others, rest, JSON.stringify(request));
          if (said.status !== 200) continue;
          t.equal(isAvailable, held.body.isAvailable);
          const { createdAt: _, updatedAt: __, customerUrn, ...content } = result ?? {};
          if (result === null) t.equal(preview, null);
          else t.strictSame(preview, { ...(rest.outcome !== 'created' && { customerUrn }), ...content });
        }
        if (!t.passing()) throw new Error('differs');
      }),
      { numRuns: storage === 'memory' ? 80 : 40 },
    );
  });
}

t.test('a dry run writes nothing to the database', async (t) => {
  const dataDir = t.testdir({});
  const service = await startService(t, { storage: 'sqlite', dataDir });
  await service.import(['a', 'b', 'c'].map((id) => storing({ externalIdentifier: id, email: `${id}@x.de` })));
  const outside = new Database(join(dataDir, 'customers.db'));
  t.teardown(() => outside.close());
  const tables = outside.prepare(`SELECT name FROM sqlite_master WHERE type = 'table'`).pluck().all() as string[];
  const content = () => tables.map((table) => [table, outside.prepare(`SELECT * FROM "${table}"`).all()]);
  const before = content();
  const answered = await service.import(
    [
      ...Array.from({ length: 600 }, (_, index) => storing({ externalIdentifier: `new-${index}` })),
      storing({ externalIdentifier: 'a', email: 'b@x.de' }),
      storing({ externalIdentifier: 'b', email: 'a@x.de' }),
      { delete: { externalIdentifier: 'c', sourceRevision: 1 } },
    ],
    { dryRun: 'true', complete: 'true' },
  );
  t.match(answered.body.at(-1), { summary: { created: 600, updated: 2, erased: 1, refused: 0 } });
  t.strictSame(content(), before);
});

t.test('a dry run answers rows that would exchange values but conflict', async (t) => {
  const service = await startService(t);
  const { body } = await service.import([storing({ externalIdentifier: 'a' }), storing({ externalIdentifier: 'd' })]);
  const [{ customerUrn: a }, { customerUrn: d }] = body;
  const rows = [
    storing({ externalIdentifier: 'a', email: 'C@x.de' }),
    storing({ externalIdentifier: 'd', customerUrn: d, email: 'c@x.de' }),
    storing({ externalIdentifier: 'd', customerUrn: a }),
  ];
  const dryRun = await service.import(rows, { dryRun: 'true' });
  t.match(dryRun.body.at(-1), { summary: { updated: 1, refused: 2 } });
  t.strictSame((await service.import(rows)).body, dryRun.body);
});

t.test('dryRun and complete together are the drift report', async (t) => {
  const service = await startService(t);
  const rowOf = (index: number, firstName = 'Jane') =>
    storing({ externalIdentifier: `crm-${index}`, email: `${index}@x.de`, firstName });
  const all = Array.from({ length: 1_200 }, (_, index) => index);
  await service.import(all.map((index) => rowOf(index)));
  await service.import(all.slice(0, 20).map((index) => ({ delete: { externalIdentifier: `crm-${index}` } })));
  service.clock.now += 1_000;
  const kept = all.slice(20).filter((index) => index % 100 !== 7);
  const file = [...kept.map((index) => rowOf(index, index % 150 === 0 ? 'Joan' : 'Jane')), rowOf(5_000), rowOf(5_001)];
  const { body } = await service.import(file.reverse(), { dryRun: 'true', complete: 'true' });
  const report = (outcome: string) => body.filter((answer: Answered) => answer.outcome === outcome);
  t.strictSame(report('created'), [
    { line: 1, outcome: 'created' },
    { line: 2, outcome: 'created' },
  ]);
  const changed = kept.filter((index) => index % 150 === 0);
  t.strictSame(
    report('updated').map(({ changedFields }: Answered) => changedFields),
    changed.map(() => ['firstName']),
  );
  t.strictSame(
    report('extra').map(({ externalIdentifier }: { externalIdentifier: string }) => externalIdentifier),
    all
      .slice(20)
      .filter((index) => index % 100 === 7)
      .map((index) => `crm-${index}`),
  );
  t.match(body.at(-1).summary, { created: 2, updated: changed.length, extra: 11, erased: 0, refused: 0, stale: 0 });
});
