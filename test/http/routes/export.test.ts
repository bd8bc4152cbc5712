/** `GET /export`: which customers, in which order, and in which pages. `test/http/streaming.test.ts` tests the stream. */
import { storing } from '../../support/client.ts';
import { eachStorage, refusedFor, type Service } from '../../support/service.ts';

/** Stores customers, and returns their records in the order of their URNs. */
async function storeMany({ post }: Pick<Service, 'post'>, count: number) {
  const records = [];
  for (let index = 0; index < count; index += 1) {
    records.push(
      (await post('store', storing({ externalIdentifier: `crm-${index}`, email: `j${index}@example.com` }))).result,
    );
  }
  const sequenceOf = ({ customerUrn }: { customerUrn: string }) => Number(customerUrn.split('.')[2]);
  return records.sort((one, other) => sequenceOf(one) - sequenceOf(other));
}

eachStorage((start, t) => {
  t.test('exports every customer as store answers it, in the order of URNs', async (t) => {
    const service = await start(t);
    const { send, credentials } = service;
    const empty = await service.export();
    t.equal(empty.text, '{"next":null}\n');
    t.match(empty.headers, {
      'content-type': 'application/x-ndjson',
      'cache-control': 'no-store',
      'x-request-id': /./,
    });
    const records = await storeMany(service, 12);
    const exported = await service.export();
    t.equal(exported.text, [...records, { next: null }].map((line) => `${JSON.stringify(line)}\n`).join(''));
    const versioned = await send({ method: 'GET', url: '/API/v1/c2a/customer/export/', headers: credentials });
    t.equal(versioned.text, exported.text);
  });

  t.test('exports more customers than the storage reads at once', async (t) => {
    const service = await start(t);
    const records = await storeMany(service, 201);
    t.same((await service.export()).body, [...records, { next: null }]);
    t.same((await service.export({ limit: '200' })).body.at(-1), { next: records[199]?.customerUrn });
    t.same((await service.export({ limit: '201' })).body.at(-1), { next: null });
  });

  t.test('`limit` and `after` export in parts; `next` is null if no more customers exist', async (t) => {
    const service = await start(t);
    const records = await storeMany(service, 6);
    for (const limit of [1, 2, 3, 5, 6, 7, 10_000]) {
      const parts = [];
      for (let after: string | null = ''; after !== null; ) {
        const { body }: { body: { next: string | null }[] } = await service.export({ after, limit: String(limit) });
        const { next } = body.pop() as { next: string | null };
        parts.push(body);
        t.equal(next, parts.length * limit < 6 ? records[parts.length * limit - 1]?.customerUrn : null);
        after = next;
      }
      t.same(parts.flat(), records, `in parts of ${limit}`);
      t.equal(parts.length, Math.ceil(6 / limit), 'no part is empty');
    }
  });

  t.test('anonymized customers are exported only on request, and do not count otherwise', async (t) => {
    const service = await start(t);
    const { post, info } = service;
    const records = await storeMany(service, 5);
    const gone = [0, 3, 4].map((index) => String(records[index]?.customerUrn));
    for (const customerUrn of gone) await post('delete', { customerUrn });
    const [, second, third] = records;
    t.same((await service.export()).body, [second, third, { next: null }]);
    t.same((await service.export({ includeAnonymized: 'false', limit: '1' })).body, [
      second,
      { next: second?.customerUrn },
    ]);
    // Only anonymized customers come after the second one of these.
    t.same((await service.export({ limit: '2' })).body, [second, third, { next: null }]);

    const { options: _, subscriptionSummary: __, ...anonymized } = (await info({ urn: String(gone[0]) })).result;
    const all = await service.export({ includeAnonymized: 'true' });
    t.equal(all.body.length, 6);
    t.same(all.body[0], anonymized);
    t.same((await service.export({ includeAnonymized: 'true', limit: '2' })).body.at(-1), {
      next: second?.customerUrn,
    });
  });

  t.test('a changed customer is exported as it is now', async (t) => {
    const service = await start(t);
    const [record] = await storeMany(service, 1);
    const { customerUrn } = record as { customerUrn: string };
    const changed = await service.post('update', { customer: { customerUrn, firstName: 'Jane', email: null } });
    t.same((await service.export()).body, [changed.result, { next: null }]);
  });

  t.test('`after` is any CustomerUrn, whether or not it was issued', async (t) => {
    const service = await start(t);
    const records = await storeMany(service, 2);
    const [first] = records;
    await service.post('delete', { customerUrn: first?.customerUrn });
    t.same((await service.export({ after: String(first?.customerUrn) })).body, [records[1], { next: null }]);
    t.equal((await service.export({ after: 'cu.00.0' })).body.length, 2);
    for (const after of ['cu.00.99999', 'cu.01.0', `cu.00.${'9'.repeat(100)}`]) {
      t.same((await service.export({ after })).body, [{ next: null }], after);
    }
  });

  t.test('an empty value counts as absent, and an unknown parameter is ignored, as by info', async (t) => {
    const service = await start(t);
    await storeMany(service, 2);
    for (const query of [{ after: '', limit: '', includeAnonymized: ' ' }, { page: '2' }]) {
      t.equal((await service.export(query as unknown as Record<string, string>)).body.length, 3);
    }
  });

  t.test('an invalid query is refused in the envelope, with all violations', async (t) => {
    const service = await start(t);
    const refused = async (query: Record<string, string>, violations: string[]) =>
      refusedFor(t, await service.export(query), violations, JSON.stringify(query));
    for (const limit of ['0', '10001', '-1', '1.5', '1e3', '0x10', '01', 'all', '1 0', '9'.repeat(30)]) {
      await refused({ limit }, ['limit: invalid_value']);
    }
    for (const after of ['crm-1', 'cu.0.1', 'cu.00.01', 'null']) await refused({ after }, ['after: invalid_format']);
    for (const includeAnonymized of ['1', 'yes', 'TRUE']) {
      await refused({ includeAnonymized }, ['includeAnonymized: invalid_value']);
    }
    await refused({ includeAnonymized: 'x', limit: 'x', after: 'x' }, [
      'after: invalid_format',
      'limit: invalid_value',
      'includeAnonymized: invalid_value',
    ]);
    refusedFor(t, await service.get('/api/c2a/customer/export?limit=1&limit=2'), ['limit: invalid_type']);
  });

  t.test('HEAD is not supported: it would read every customer', async (t) => {
    const { app, credentials } = await start(t);
    const answer = await app.inject({ method: 'HEAD', url: '/api/c2a/customer/export', headers: credentials });
    t.match(answer, { statusCode: 405, headers: { allow: 'GET' } });
  });
});
