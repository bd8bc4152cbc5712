/** `POST /import`: every answer, and what is stored. */
import t, { type Test } from 'tap';
import { storing } from '../../support/client.ts';
import { type Service, startService } from '../../support/service.ts';

const row = (id: string, fields: object = {}, sourceRevision?: number) => ({
  ...storing({ externalIdentifier: id, ...fields }),
  ...(sourceRevision !== undefined && { sourceRevision }),
});
const erasing = (id: string, sourceRevision?: number) => ({
  delete: { externalIdentifier: id, ...(sourceRevision !== undefined && { sourceRevision }) },
});
const outcomesOf = (body: readonly { line?: number; outcome?: string; status?: { messageCode: string } }[]) =>
  body.slice(0, -1).map(({ line, outcome, status }) => [line, outcome, status?.messageCode].filter(Boolean).join(' '));
const shown = async ({ export: all }: Service, query = {}) =>
  (await all(query)).body
    .slice(0, -1)
    .map(({ createdAt, updatedAt, customerUrn, ...content }: Record<string, unknown>) => content);

for (const storage of ['memory', 'sqlite'] as const) {
  t.test(storage, async (t) => {
    const start = (test: Test) =>
      startService(test, { storage, ...(storage === 'sqlite' && { dataDir: test.testdir({}) }) });

    t.test('every outcome, in the order of the rows', async (t) => {
      const { post, import: importing, clock } = await start(t);
      await post('sync', row('old', { email: 'old@example.com' }, 5));
      await post('sync', row('same', {}, 5));
      await post('sync', row('gone', {}, 5));
      clock.now += 1_000;
      const { status, body, headers } = await importing([
        row('new', { firstName: 'New' }),
        row('old', { email: 'old@example.com', lastName: 'Doe' }, 6),
        row('same', {}, 5),
        row('same', {}, 4),
        erasing('gone'),
        row('bad', { email: 'nowhere', firstName: 7 }),
        row('taken', { email: 'OLD@example.com' }),
        erasing('never'),
        row('same', { firstName: 'Other' }, 5),
        { delete: { customerUrn: 'cu.00.99' } },
        erasing('same', 4),
        { delete: { customerUrn: 'cu.00.3' } },
      ]);
      t.equal(status, 200);
      t.equal(headers['content-type'], 'application/x-ndjson');
      t.match(body, [
        { line: 1, outcome: 'created', customerUrn: /^cu\.00\.\d+$/, version: 1 },
        { line: 2, outcome: 'updated', customerUrn: 'cu.00.1', version: 2, changedFields: ['lastName'] },
        { line: 3, outcome: 'unchanged', customerUrn: 'cu.00.2', version: 1 },
        { line: 4, outcome: 'stale' },
        { line: 5, outcome: 'erased', customerUrn: 'cu.00.3', version: 2 },
        {
          line: 6,
          outcome: 'refused',
          status: {
            messageCode: 'INVALID_REQUEST',
            errors: [{ field: 'customer.email' }, { field: 'customer.firstName' }],
          },
        },
        { line: 8, outcome: 'unchanged' },
        { line: 9, outcome: 'refused', status: { messageCode: 'REVISION_CONFLICT' } },
        { line: 10, outcome: 'refused', status: { messageCode: 'CUSTOMER_NOT_FOUND' } },
        { line: 11, outcome: 'stale' },
        { line: 12, outcome: 'unchanged', customerUrn: 'cu.00.3', version: 2 },
        {
          line: 7,
          outcome: 'refused',
          status: {
            messageCode: 'USER_WITH_SAME_EMAIL_EXISTS',
            conflicts: [
              { field: 'customer.email', messageCode: 'USER_WITH_SAME_EMAIL_EXISTS', customerUrn: 'cu.00.1' },
            ],
          },
        },
        {
          summary: { created: 1, updated: 1, unchanged: 3, stale: 2, erased: 1, refused: 4 },
          status: { messageCode: 'SUCCESS' },
        },
      ]);
      t.strictSame(Object.keys(body.at(-1).summary), ['created', 'updated', 'unchanged', 'stale', 'erased', 'refused']);
    });

    t.test('a delete before and after a create of the same ExternalId', async (t) => {
      const service = await start(t);
      const urn = (await service.post('store', row('a', { firstName: 'Old' }))).result.customerUrn;
      const rows = [erasing('a'), row('a', { firstName: 'New' }), row('b'), erasing('b')];
      t.strictSame(outcomesOf((await service.import(rows)).body), ['1 erased', '2 created', '3 created', '4 erased']);
      t.match(await shown(service), [{ externalIdentifier: 'a', firstName: 'New' }]);
      const [, second] = (await service.export({ includeAnonymized: 'true' })).body;
      t.not(second.customerUrn, urn);

      const byUrn = [{ delete: { customerUrn: second.customerUrn } }, row('a', { firstName: 'Newer' })];
      t.strictSame(outcomesOf((await service.import(byUrn)).body), ['1 erased', '2 created']);
      t.match(await shown(service), [{ externalIdentifier: 'a', firstName: 'Newer' }]);
      const last = (await service.info({ exId: 'a' })).result.customerUrn;
      const renamed = [
        { ...row('z'), customer: { customerUrn: last, externalIdentifier: 'z' } },
        { delete: { customerUrn: last } },
        row('z', { firstName: 'Newest' }),
      ];
      t.strictSame(outcomesOf((await service.import(renamed)).body), ['1 updated', '2 erased', '3 created']);
      t.match(await shown(service), [{ externalIdentifier: 'z', firstName: 'Newest' }]);
    });

    t.test('several rows of one customer', async (t) => {
      const service = await start(t);
      const plain = ['one', 'two', 'one', 'three', 'three'].map((firstName) => row('a', { firstName }));
      t.strictSame(outcomesOf((await service.import(plain)).body), [
        '1 created',
        '2 updated',
        '3 updated',
        '4 updated',
        '5 unchanged',
      ]);
      const fenced = [3, 1, 5, 4, 5].map((revision) => row('b', { firstName: `at ${revision}` }, revision));
      t.strictSame(outcomesOf((await service.import(fenced)).body), [
        '1 created',
        '2 stale',
        '3 updated',
        '4 stale',
        '5 unchanged',
      ]);
      t.match(await shown(service), [{ firstName: 'three' }, { firstName: 'at 5', sourceRevision: 5 }]);
      const erased = [erasing('b', 6), row('b', {}, 6), row('b', {}, 7), erasing('b', 6)];
      t.strictSame(outcomesOf((await service.import(erased)).body), ['1 erased', '2 stale', '3 created', '4 stale']);
    });

    t.test('a complete file', async (t) => {
      const { post, import: importing, clock } = await start(t);
      for (const id of ['a', 'b', 'c', 'd', 'e', 'f', 'g'])
        await post('store', row(id, { email: `${id}@example.com` }));
      await post('delete', { externalIdentifier: 'g' });
      clock.now += 1_000;
      const rows = [
        row('a', { email: 'a@example.com' }),
        row('b', { email: 'invalid' }),
        row('c', { email: 'a@example.com' }),
        { ...row('dd'), customer: { customerUrn: 'cu.00.4', externalIdentifier: 'dd' } },
        row('new'),
        erasing('f'),
      ];
      const extra = [{ outcome: 'extra', customerUrn: 'cu.00.5', externalIdentifier: 'e' }];
      const summary = { created: 1, updated: 1, unchanged: 1, stale: 0, erased: 1, refused: 2, extra: 1 };
      for (const dryRun of ['true', 'false']) {
        const { body } = await importing(rows, { complete: 'true', dryRun });
        t.strictSame(
          body.filter(({ outcome }: { outcome?: string }) => outcome === 'extra'),
          extra,
        );
        t.strictSame(body.at(-1), { summary, status: { messageCode: 'SUCCESS' } });
      }
    });

    t.test('nobody is extra if a row does not tell whom it names', async (t) => {
      const { post, import: importing, clock } = await start(t);
      await post('store', row('a'));
      clock.now += 1_000;
      for (const unreadable of [{}, { customer: { firstName: 'Jane' } }, { delete: {} }]) {
        const { body } = await importing([unreadable], { complete: 'true' });
        t.match(body, [{ outcome: 'refused' }, { summary: { refused: 1, extra: undefined } }]);
        t.equal(body.length, 2);
      }
    });

    t.test('an export goes in elsewhere, and comes out the same', async (t) => {
      const [one, other] = [await start(t), await start(t)];
      const address = { street: 'Unter den Linden 77', city: 'Berlin', postalCode: '10117', countryCode: 'DE' };
      const full = (index: number) => ({
        email: `Jane.${index}@Bücher.example`,
        phoneNumber: `+4930${1_000_000 + index}`,
        salutation: 'Frau Dr.',
        firstName: 'Jane',
        lastName: '다른',
        gender: 'Diverse',
        legalType: 'Corporate',
        corporationInfo: { companyName: 'ACME', taxNumber: '1', taxOffice: '2', registrationNumber: '3' },
        primaryBillingAddress: { ...address, street2: '2', state: 'BE' },
        privacy: {
          emailConsent: true,
          smsConsent: true,
          phoneConsent: true,
          pushConsent: true,
          profilingConsent: true,
        },
        status: 'Blocked',
      });
      const rows = Array.from({ length: 600 }, (_, index) =>
        row(`crm-${index}`, index % 3 === 0 ? {} : full(index), index % 2 === 0 ? index : undefined),
      );
      await one.import(rows);
      await one.import(Array.from({ length: 50 }, (_, index) => erasing(`crm-${index * 7}`)));
      const { text } = await one.export();
      other.clock.now += 5_000;
      const first = await other.import(text);
      t.match(first.body.at(-1), { summary: { created: 550, refused: 0 } });
      t.strictSame(await shown(other), await shown(one));
      const again = await other.import(text);
      t.match(again.body.at(-1), { summary: { created: 0, updated: 0, unchanged: 550, refused: 0 } });
      t.ok(again.body.slice(0, -1).every(({ version }: { version: number }) => version === 1));
      const anonymized = await other.import((await one.export({ includeAnonymized: 'true' })).text);
      t.match(anonymized.body.at(-1), { summary: { created: 0, unchanged: 550, refused: 50 } });
      t.equal((await shown(other)).length, 550);
    });

    t.test('a dry run stores nothing, and makes up no CustomerUrns', async (t) => {
      const service = await start(t);
      await service.post('store', row('a', { email: 'a@example.com' }));
      const before = (await service.export({ includeAnonymized: 'true' })).text;
      const { body } = await service.import(
        [
          row('b', { email: 'b@example.com' }),
          row('c', { email: 'b@example.com' }),
          row('a', { firstName: 'A' }),
          erasing('b'),
        ],
        { dryRun: 'true' },
      );
      t.strictSame(body, [
        { line: 1, outcome: 'created' },
        { line: 3, outcome: 'updated', customerUrn: 'cu.00.1', version: 2, changedFields: ['email', 'firstName'] },
        { line: 4, outcome: 'erased' },
        { line: 2, outcome: 'created' },
        {
          summary: { created: 2, updated: 1, unchanged: 0, stale: 0, erased: 1, refused: 0 },
          status: { messageCode: 'SUCCESS' },
        },
      ]);
      t.equal((await service.export({ includeAnonymized: 'true' })).text, before);
    });
  });
}
