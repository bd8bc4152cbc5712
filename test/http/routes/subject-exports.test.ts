/** `POST /subject-export`: all data about one customer, for the tenant. */
import { claimedRegion, storing } from '../../support/client.ts';
import { eachStorage, refusedFor } from '../../support/service.ts';

const jane = { externalIdentifier: 'crm-1', email: 'jane@example.com', firstName: 'Jane' };

eachStorage((start, t) => {
  t.test('a customer is exported by each of its names', async (t) => {
    const { post, send, credentials } = await start(t);
    const { result: record } = await post('store', storing(jane), { 'idempotency-key': 'k', 'x-request-id': 'first' });
    const { customerUrn } = record;
    await post('update', { customer: { customerUrn, lastName: 'Doe' } }, { 'x-request-id': 'second' });
    const expected = {
      tenant: 'acme',
      exportedAt: '2026-01-15T09:30:00.000Z',
      record: { ...record, lastName: 'Doe' },
      provenance: {
        firstReceivedAt: record.createdAt,
        lastChangedAt: record.updatedAt,
        version: 2,
        storedBy: { keyId: String, requestId: 'first' },
        changedBy: { keyId: String, requestId: 'second' },
      },
      derived: [/blind indexes/, /data key/, /digests/],
      idempotencyRecords: [{ code: 'SUCCESS', keptUntil: '2026-01-16T09:30:00.000Z' }],
      copies: [],
    };
    const references = [{ customerUuid: customerUrn }, { customerUrn }, { externalIdentifier: ' crm-1 ' }];
    for (const reference of references) {
      const answer = await post('subject-export', reference);
      t.match(answer, { outcome: '200 SUCCESS', result: expected }, JSON.stringify(reference));
      t.equal(answer.headers.etag, undefined);
      t.notOk('erasure' in answer.result);
    }
    const versioned = await send({
      method: 'POST',
      url: '/api/v1/c2a/customer/subject-export',
      headers: { ...credentials, 'content-type': 'application/json' },
      payload: JSON.stringify({ customerUrn }),
    });
    t.match(versioned.result, expected);
  });

  t.test('an erased customer is exported by its CustomerUrn only', async (t) => {
    const { post } = await start(t);
    const { customerUrn } = (await post('store', storing(jane))).result;
    await post('delete', { customerUrn, reference: 'DSAR-1' }, { 'x-request-id': 'case-1' });
    const answer = await post('subject-export', { customerUrn });
    t.match(answer.result, {
      record: { customerUrn, status: 'Anonymized', claimedRegion },
      derived: [],
      erasure: {
        erasedAt: '2026-01-15T09:30:00.000Z',
        keyId: String,
        requestId: 'case-1',
        reference: 'DSAR-1',
        rewritten: ['externalIdentifier', 'email', 'firstName', 'status'],
      },
    });
    t.notMatch(answer.text, /jane|crm-1/i);
    t.equal((await post('subject-export', { externalIdentifier: 'crm-1' })).outcome, '404 CUSTOMER_NOT_FOUND');
  });

  t.test('a customer that does not exist, or is of another tenant, is not found', async (t) => {
    const { post, tenant } = await start(t);
    const { customerUrn } = (await post('store', storing(jane))).result;
    const globex = await tenant('globex');
    for (const reference of [{ customerUrn }, { customerUuid: customerUrn }, { externalIdentifier: 'crm-1' }]) {
      t.equal((await globex.post('subject-export', reference)).outcome, '404 CUSTOMER_NOT_FOUND');
    }
    t.equal((await post('subject-export', { customerUrn: 'cu.00.999' })).outcome, '404 CUSTOMER_NOT_FOUND');
    t.equal((await post('subject-export', { externalIdentifier: 'crm-2' })).outcome, '404 CUSTOMER_NOT_FOUND');
  });

  t.test('a read-only key gets 403, before the body is read', async (t) => {
    const { key } = await start(t);
    const readOnly = await key('acme', 'read');
    for (const body of [{ customerUrn: 'cu.00.1' }, '{', '']) {
      t.equal((await readOnly.post('subject-export', body)).outcome, '403 FORBIDDEN');
    }
  });

  t.test('a body without exactly one name is refused, and the export changes nothing', async (t) => {
    const { post, info } = await start(t);
    const { customerUrn } = (await post('store', storing(jane))).result;
    for (const body of ['', '[]', 'null', '"cu.00.1"']) {
      t.equal((await post('subject-export', body)).outcome, '400 BAD_REQUEST', body);
    }
    const both = { customerUuid: customerUrn, externalIdentifier: 'crm-1' };
    for (const body of [{}, { customerUrn: null }, both]) {
      refusedFor(t, await post('subject-export', body), ['customerUuid: exactly_one'], JSON.stringify(body));
    }
    refusedFor(t, await post('subject-export', { customerUrn: 'crm-1' }), ['customerUrn: invalid_format']);
    refusedFor(t, await post('subject-export', { customerUrn, case: 'x' }), ['case: unknown_field']);

    const before = await info({ urn: customerUrn });
    const answers = [];
    for (const body of [{ customerUrn }, both, { customerUrn }]) {
      answers.push(await post('subject-export', body, { 'idempotency-key': 'k' }));
    }
    // An Idempotency-Key has no meaning here: nothing is kept, and nothing is replayed.
    t.same(
      answers.map(({ outcome, headers }) => [outcome, headers['idempotency-replayed']]),
      [
        ['200 SUCCESS', undefined],
        ['400 INVALID_REQUEST', undefined],
        ['200 SUCCESS', undefined],
      ],
    );
    t.same(answers[2]?.result, answers[0]?.result);
    t.same(await info({ urn: customerUrn }).then(({ text }) => text), before.text);
  });
});
