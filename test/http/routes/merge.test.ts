/** `POST /merge`: a customer that is merged into another one, and what its names find afterwards. */
import { base, storing } from '../../support/client.ts';
import { eachStorage, refusedFor, type Service } from '../../support/service.ts';

const old = { externalIdentifier: 'old', email: 'jane@example.com', firstName: 'Jane' };
const kept = { externalIdentifier: 'new', phoneNumber: '+491701234567', firstName: 'Joan' };
const notFound = '404 CUSTOMER_NOT_FOUND';

/** Stores two customers. */
async function two({ post }: Pick<Service, 'post'>, revision?: number) {
  const [from, into] = [
    await post('store', { ...storing(old), ...(revision !== undefined && { sourceRevision: revision }) }),
    await post('store', storing(kept)),
  ];
  return { from: from.result.customerUrn, into: into.result.customerUrn, record: into.result };
}

eachStorage((start, t) => {
  t.test('answers the record that stays, and the merged one names it', async (t) => {
    const { post, info, clock } = await start(t);
    const { from, into, record } = await two({ post });
    clock.now += 3_600_000;
    const answer = await post('merge', { from, into });
    t.match(answer, { outcome: '200 SUCCESS', headers: { etag: '"1"' } });
    t.strictSame(answer.result, record);
    const merged = await info({ urn: from });
    t.match(merged.result, {
      status: 'Anonymized',
      anonymizedAt: '2026-01-15T10:30:00.000Z',
      mergedInto: into,
      options: { availableChannels: [] },
    });
    t.notMatch(merged.text, /jane|old/i);
    t.match(await info({ exId: 'old' }), { result: record, headers: { etag: '"1"' } });
    const again = await post('merge', { from, into });
    t.match(again, { outcome: '200 SUCCESS', headers: { etag: '"1"' }, result: record });
    t.equal(again.headers['idempotency-replayed'], undefined);
    t.strictSame((await info({ urn: from })).result, merged.result);
  });

  t.test('the old ExternalId works as a name, and is taken', async (t) => {
    const { post, info, receipt } = await start(t);
    const { from, into } = await two({ post });
    await post('merge', { from, into });
    t.match((await post('validate', { externalId: 'old' })).body, { isAvailable: false });
    t.match((await post('store', storing({ externalIdentifier: 'old' }))).body.status, {
      messageCode: 'CUSTOMER_ALREADY_STORED',
      conflicts: [{ field: 'customer.externalIdentifier', customerUrn: into }],
    });
    const updated = await post('update', { customer: { externalIdentifier: 'old', lastName: 'Doe' } });
    t.match(updated.result, { customerUrn: into, externalIdentifier: 'new', lastName: 'Doe' });
    t.equal((await post('update', { customer: { customerUrn: from, lastName: 'X' } })).outcome, notFound);
    const exported = await post('subject-export', { externalIdentifier: 'old' });
    t.match(exported.result, { record: { customerUrn: into, externalIdentifier: 'new' } });
    t.match((await post('subject-export', { customerUrn: from })).result, {
      record: { mergedInto: into },
      erasure: { mergedInto: into, rewritten: ['externalIdentifier', 'email', 'firstName', 'status'] },
    });
    t.equal((await receipt(from)).outcome, '404 ERASURE_NOT_FOUND');
    t.equal((await info({ exId: 'old' })).result.lastName, 'Doe');
  });

  t.test('erasing the record that stays erases both; the merged one cannot be erased before', async (t) => {
    const { post, info, receipt } = await start(t);
    const { from, into } = await two({ post });
    await post('merge', { from, into });
    t.equal((await post('delete', { customerUrn: from })).outcome, '409 CUSTOMER_MERGED');
    t.equal((await info({ urn: into })).result.firstName, 'Joan');
    t.equal((await post('delete', { externalIdentifier: 'old' })).outcome, '200 SUCCESS');
    t.match((await info({ urn: into })).result, { status: 'Anonymized' });
    t.equal((await info({ exId: 'old' })).outcome, notFound);
    t.equal((await post('delete', { customerUrn: from })).outcome, '200 SUCCESS');
    t.match((await info({ urn: from })).result, { mergedInto: into });
    for (const urn of [from, into]) {
      t.match((await receipt(urn)).body.result.receipt, { customerUrn: into, residualScan: { clean: true } });
    }
    t.equal((await post('store', storing(old))).outcome, '200 SUCCESS');
  });

  t.test('a source revision fences the merge, and what comes late', async (t) => {
    const { post, info } = await start(t);
    const { from, into } = await two({ post }, 5);
    t.equal((await post('merge', { from, into, sourceRevision: 4 })).outcome, '409 STALE_REVISION');
    t.equal((await info({ urn: from })).result.firstName, 'Jane');
    t.equal((await post('merge', { from, into, sourceRevision: 7 })).outcome, '200 SUCCESS');
    const late = { sourceRevision: 7 };
    const stale = '409 STALE_REVISION';
    const customer = { externalIdentifier: 'old', lastName: 'X' };
    t.equal((await post('update', { customer, ...late })).outcome, stale);
    t.equal(
      (await post('delete', { externalIdentifier: 'old', ...late })).outcome,
      stale,
      'an old delete, delivered again',
    );
    const leftOver = await post('delete', { externalIdentifier: 'old', sourceRevision: 8 });
    t.equal(leftOver.outcome, '409 CUSTOMER_MERGED', 'the record that is left over after a merge in the source');
    t.notOk('lastName' in (await info({ urn: into })).result);
    t.equal((await post('delete', { customerUrn: into, sourceRevision: 9 })).outcome, '200 SUCCESS');
    t.equal((await post('store', { ...storing(old), sourceRevision: 8 })).outcome, stale, 'a tombstone of the alias');
    t.equal((await post('store', { ...storing(old), sourceRevision: 10 })).outcome, '200 SUCCESS');
  });

  t.test('a sync, its preview and an import say the same of a merged customer', async (t) => {
    const { app, credentials, post, info } = await start(t);
    const { from, into, record } = await two({ post });
    await post('merge', { from, into, sourceRevision: 5 });
    const late = { ...storing(old), sourceRevision: 5 };
    const newer = { ...storing(old), sourceRevision: 6 };
    const taken = { messageCode: 'CUSTOMER_ALREADY_STORED', conflicts: [{ customerUrn: into }] };
    for (const route of ['sync', 'validate'] as const) {
      t.match((await post(route, late)).body, { outcome: 'stale', result: null }, route);
      t.match(await post(route, newer), { status: 409, body: { status: taken } }, route);
    }
    const rows = [
      late,
      newer,
      { delete: { customerUrn: from } },
      { delete: { externalIdentifier: 'old', sourceRevision: 5 } },
      { delete: { externalIdentifier: 'old', sourceRevision: 6 } },
      { ...storing(old), sourceRevision: 7 },
      { delete: { customerUrn: into, sourceRevision: 7 } },
      { ...storing(old), sourceRevision: 8 },
    ];
    // A stream of answers needs a connection.
    const server = await app.listen();
    for (const dryRun of ['true', 'false']) {
      if (dryRun === 'false') t.match((await info({ urn: into })).result, record, 'the dry run changed nothing');
      const response = await fetch(`${server}${base}/import?dryRun=${dryRun}`, {
        method: 'POST',
        headers: { ...credentials, 'content-type': 'application/x-ndjson' },
        body: rows.map((row) => JSON.stringify(row)).join('\n'),
      });
      const body = await response.text();
      const answers = body
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      t.match(
        answers.slice(0, -1).sort((one, other) => one.line - other.line),
        [
          { outcome: 'stale' },
          // It conflicts, waits, and then finds the tombstone of line 7, as line 6 does.
          { outcome: 'stale' },
          { outcome: 'refused', status: { messageCode: 'CUSTOMER_MERGED' } },
          { outcome: 'stale' },
          { outcome: 'refused', status: { messageCode: 'CUSTOMER_MERGED' } },
          { outcome: 'stale' },
          { outcome: 'erased', customerUrn: into },
          { outcome: 'created' },
        ],
        `dryRun=${dryRun}`,
      );
    }
  });

  t.test('is refused for unknown, anonymised and other tenants’ customers', async (t) => {
    const { post, tenant } = await start(t);
    const { from, into } = await two({ post });
    const gone = (await post('store', storing({ externalIdentifier: 'gone' }))).result.customerUrn;
    await post('delete', { customerUrn: gone });
    const globex = await tenant('globex');
    const theirs = (await globex.post('store', storing(old))).result.customerUrn;
    for (const other of ['cu.00.999', gone, theirs]) {
      t.equal((await post('merge', { from, into: other })).outcome, notFound, other);
      t.equal((await post('merge', { from: other, into })).outcome, notFound, other);
    }
    t.equal((await globex.post('merge', { from, into })).outcome, notFound);
    await post('merge', { from, into });
    t.equal((await post('merge', { from: into, into: from })).outcome, notFound);
  });

  t.test('a broken request gets all violations', async (t) => {
    const { post } = await start(t);
    for (const body of ['[]', 'null', '"x"', '']) t.equal((await post('merge', body)).outcome, '400 BAD_REQUEST', body);
    refusedFor(t, await post('merge', {}), ['from: required', 'into: required']);
    const broken = { from: 'crm-1', sourceRevision: -1, x: 1 };
    refusedFor(t, await post('merge', broken, { 'idempotency-key': 'a b' }), [
      'Idempotency-Key: invalid_format',
      'from: invalid_format',
      'sourceRevision: invalid_value',
      'x: unknown_field',
      'into: required',
    ]);
    refusedFor(t, await post('merge', { from: 'cu.00.1', into: ' cu.00.1' }), ['into: invalid_value']);
  });

  t.test('an Idempotency-Key replays the merge', async (t) => {
    const { post } = await start(t);
    const { from, into } = await two({ post });
    const headers = { 'idempotency-key': 'k' };
    t.equal((await post('merge', { from, into: 'cu.00.999' }, headers)).outcome, notFound);
    t.notOk((await post('merge', { from, into }, headers)).headers['idempotency-replayed']);
    await post('update', { customer: { customerUrn: into, lastName: 'Doe' } });
    t.match(await post('merge', { from, into }, headers), {
      outcome: '200 SUCCESS',
      headers: { 'idempotency-replayed': 'true', etag: '"2"' },
      result: { customerUrn: into, lastName: 'Doe' },
    });
    const other = { from, into, sourceRevision: 9 };
    t.equal((await post('merge', other, headers)).outcome, '422 IDEMPOTENCY_KEY_REUSED');
  });
});
